"""What ``tvmc run`` prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .tables import print_table

if TYPE_CHECKING:
    import numpy as np

    from ..runtime.engine import KernelTime


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


def print_profile(times: Sequence[KernelTime]) -> None:
    """Print the time of each kernel call, in the order of the calls."""
    total = sum(row.seconds for row in times) or 1.0
    rows = [
        (", ".join(row.layers), row.kernel, f"{1e3 * row.seconds:.4f}", f"{100 * row.seconds / total:.1f}")
        for row in times
    ]
    rows.append(("total", "", f"{1e3 * total:.4f}", "100.0"))
    print_table("Time by layer", ("layers", "kernel", ">ms", ">%"), rows)
