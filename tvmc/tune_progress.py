"""What ``tvmc tune`` shows: a bar where someone looks at it, a line a round, a table at the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .progress import progress
from .tables import print_table

if TYPE_CHECKING:
    from ..tuning.child import Measured
    from ..tuning.search import Search


class TuneProgress:
    """A ``tuning.tune.Watcher`` that writes to standard error; a context in which tuning runs."""

    def __init__(self, trials: int) -> None:
        self._bar = progress("tune", trials)

    def __enter__(self) -> TuneProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def trial(self, search: Search, measured: Measured) -> None:
        """Count one trial; say where it failed."""
        self._bar.set_description(search.task.name, refresh=False)
        self._bar.update()
        if measured.error:
            self._write(f"{search.task.name}: a candidate failed, and tuning goes on: {measured.error}")

    def round(self, searches: Sequence[Search], current: Search, left: int) -> None:
        """Say what is the best of the kernel that had its turn."""
        place = searches.index(current) + 1
        best = "none ran" if math.isinf(current.best) else f"best {_milliseconds(current.best)} ms"
        speed = "" if math.isinf(current.best) or not current.task.macs else f", {_speed(current)} GMAC/s"
        self._write(
            f"[{place}/{len(searches)}] {current.task.name}: {current.trials} trials, {best}{speed}"
            f"{', complete' if current.is_exhausted else ''}; {left} trials left"
        )

    def _write(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr)


def print_summary(searches: Sequence[Search]) -> None:
    """Print for each kernel what the analytic model gives and what tuning found, and the sums over all calls."""
    rows: list[tuple[object, ...]] = [
        (
            search.task.name,
            search.task.calls,
            search.trials,
            _milliseconds(search.default),
            _milliseconds(search.best),
            _speed(search),
        )
        for search in searches
        if search.trials
    ]
    measured = [search for search in searches if search.default and not math.isinf(search.best)]
    default, best = (
        sum(search.task.calls * getattr(search, name) for search in measured) for name in ("default", "best")
    )
    rows.append(("all calls", "", "", _milliseconds(default), _milliseconds(best), ""))
    columns = ("kernel", ">calls", ">trials", ">default (ms)", ">best (ms)", ">GMAC/s")
    print_table("Tuned kernels", columns, rows)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None or math.isinf(seconds) else f"{1e3 * seconds:.4f}"


def _speed(search: Search) -> str:
    return (
        "-"
        if math.isinf(search.best) or not search.task.macs
        else f"{search.task.macs / search.best / 1e9:.1f}"
    )
