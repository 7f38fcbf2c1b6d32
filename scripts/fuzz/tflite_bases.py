"""TFLite files that are mutated: one for each operator that the tests have, in float and on integers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # for the graphs of the tests

from tests.frontends.tflite.models import eight_bits, of_floats


def files() -> dict[str, bytes]:
    """Return the contents by name."""
    graph, _ = of_floats()
    made = {f"tflite_float_{place}": graph.bytes([place]) for place in graph.outputs}
    for dtype in ("int8", "uint8"):
        writer, outputs, _ = eight_bits(dtype)
        made.update({f"tflite_{dtype}_{place}": writer.bytes([place]) for place in outputs})
    return made
