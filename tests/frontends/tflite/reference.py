"""What TFLite's own interpreter computes with its reference kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest


def reference(path: Path, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a file, in order; the test is skipped where the interpreter is missing."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    resolver = interpreter.OpResolverType.BUILTIN_REF
    runner = interpreter.Interpreter(str(path), experimental_op_resolver_type=resolver)
    runner.allocate_tensors()
    for given in runner.get_input_details():
        runner.set_tensor(given["index"], inputs[given["name"]])
    runner.invoke()
    return [runner.get_tensor(given["index"]) for given in runner.get_output_details()]
