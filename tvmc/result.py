"""What ``tvmc.run`` returns: outputs and times."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import unknown
from .files import write_npz

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ExecutionTimes:
    """Times in seconds, each the mean of some runs, and their statistics, in seconds too."""

    results: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.results)

    @property
    def median(self) -> float:
        return statistics.median(self.results)

    @property
    def max(self) -> float:
        return max(self.results)

    @property
    def min(self) -> float:
        return min(self.results)

    @property
    def std(self) -> float:
        return statistics.pstdev(self.results)

    def __str__(self) -> str:
        """Return the statistics in milliseconds, as a table."""
        names = ("mean", "median", "max", "min", "std")
        head = " ".join(f"{f'{name} (ms)':^12}" for name in names)
        row = " ".join(f"{1e3 * getattr(self, name):^12.4f}" for name in names)
        return f"Execution time summary:\n{head}\n{row}"


@dataclass(frozen=True)
class TVMCResult:
    """What a run gave.

    Attributes
    ----------
    outputs : arrays by the names ``output_0``, ``output_1`` and so on.
    times : how long the runs took.
    names : the model's own names of the outputs, in the same order.
    """

    outputs: Mapping[str, np.ndarray]
    times: ExecutionTimes
    names: tuple[str, ...] = ()

    def format_times(self) -> str:
        """Return the statistics of the times as a table, in milliseconds."""
        return str(self.times)

    def get_output(self, name: str) -> np.ndarray:
        """Return an output by either of its names; raises ``TvmqError`` for another."""
        found = {**dict(zip(self.names, self.outputs.values(), strict=False)), **self.outputs}
        if name not in found:
            raise unknown("output", name, found)
        return found[name]

    def save(self, output_path: str | os.PathLike[str]) -> None:
        """Write the outputs as ``.npz``, a suffix that the path gains where it lacks it."""
        path = Path(output_path)
        write_npz(path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz"), self.outputs)

    def __str__(self) -> str:
        return f"{self.format_times()}\nOutput Names:\n {list(self.outputs)}"
