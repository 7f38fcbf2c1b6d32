"""What ``tvmc run`` prints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .tables import print_table

if TYPE_CHECKING:
    import numpy as np

    from ..runtime.recorder import KernelTime


def print_top(name: str, array: np.ndarray, count: int) -> None:
    """Print the largest elements with their indices; axes of one element are left out of an index."""
    import numpy as np

    values = array.squeeze()
    order = np.argsort(-values, axis=None, kind="stable")[:count]
    places = zip(*np.unravel_index(order, values.shape), strict=True) if values.shape else [()]
    rows = [(",".join(map(str, place)), f"{values[place]:g}") for place in places]
    print_table(f"output {name}", (">index", ">value"), rows)


def print_times(seconds: Sequence[float]) -> None:
    """Print statistics of the times, in milliseconds."""
    times = [1e3 * value for value in seconds]
    row = (statistics.mean(times), statistics.median(times), max(times), min(times), statistics.pstdev(times))
    columns = (">mean (ms)", ">median (ms)", ">max (ms)", ">min (ms)", ">std (ms)")
    print_table("Execution time summary", columns, [[f"{value:.4f}" for value in row]])


def print_profile(times: Sequence[KernelTime], layers: Sequence[Mapping[str, Any]]) -> None:
    """Print the time of each kernel call, in the order of the calls, and what weights it reads.

    ``layers`` are those of the package's metadata.
    """
    total = sum(row.seconds for row in times) or 1.0
    details = {layer["name"]: layer["details"] for layer in layers}
    rows = []
    for row in times:
        weights = [details[name] for name in row.layers if "weight_bytes" in details.get(name, {})]
        rows.append(
            (
                ", ".join(row.layers),
                row.kernel,
                ", ".join(str(each["weight_bits"]) for each in weights if "weight_bits" in each),
                str(sum(each["weight_bytes"] for each in weights) or ""),
                f"{1e3 * row.seconds:.4f}",
                f"{100 * row.seconds / total:.1f}",
            )
        )
    rows.append(("total", "", "", "", f"{1e3 * total:.4f}", "100.0"))
    print_table("Time by layer", ("layers", "kernel", ">bits", ">bytes", ">ms", ">%"), rows)
