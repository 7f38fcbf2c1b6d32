"""The tables: engines on a core, and the functions of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..tables import Table
from .cores import Core
from .modelled import Function, whole
from .symbols import NAMELESS

MEMORY_GIGABYTES = 10.0
"""Of a board's memory, in a second, for the bound that it sets."""
NOTE = (
    "Mcycles: modelled, data in the first cache, branches guessed right. ms: those at the clock. MB read, written: by "
    "loads and stores. MB memory: what passes a last cache of {cache} KiB; bound ms: its time at {speed:g} GB/s. vs: "
    "how many times fewer cycles than that engine's."
)


def note(core: Core) -> str:
    """Return what the headings of a core's table mean."""
    return NOTE.format(cache=core.cache_kib, speed=MEMORY_GIGABYTES)


def engine_table(rows: Mapping[str, Sequence[Function]], core: Core, references: Sequence[str]) -> Table:
    """Return a row an engine.

    Parameters
    ----------
    rows : the functions of each engine.
    references : engines that the others are compared with.
    """
    clock = " / ".join(f"{each:g}" for each in core.gigahertz)
    sums = {engine: whole(list(functions), engine) for engine, functions in rows.items()}
    modelled = [name for name in references if name in sums and sums[name].cycles]
    headings = [
        "engine",
        "Mcycles",
        f"ms, {clock} GHz",
        *_COUNTS,
        "bound ms",
        *(f"vs {name}" for name in modelled),
    ]
    cells = []
    for engine, total in sums.items():
        milliseconds = [_number(total.cycles, 1e6 * each) for each in core.gigahertz]
        cells.append(
            [
                *(engine, _number(total.cycles, 1e6), " / ".join(dict.fromkeys(milliseconds))),
                *_counts(total),
                _number(total.memory, 1e6 * MEMORY_GIGABYTES),
                *(_ratio(sums[name].cycles, total.cycles) for name in modelled),
            ]
        )
    return Table(headings, cells)


_COUNTS = ("Minstr", "IPC", "MB read", "MB written", "MB memory")


def _counts(function: Function) -> list[str]:
    return [
        _number(function.instructions, 1e6),
        _ratio(function.instructions, function.cycles),
        *(_number(count, 1e6) for count in (function.read, function.written, function.memory)),
    ]


def function_table(functions: Sequence[Function], macs: Mapping[str, float], limit: int) -> Table:
    """Return a row a function, the first ``limit`` and the sum of the others.

    Parameters
    ----------
    functions : those that take most first.
    macs : multiply-adds of one run by function, where they are known.
    """
    total = whole(list(functions), "all")
    shown = list(functions[:limit])
    if rest := functions[limit:]:
        shown.append(whole(list(rest), f"{len(rest)} others"))
    shown.append(total)
    cells = []
    for function in shown:
        count = sum(macs.values()) if function is total else macs.get(function.name)
        weight, all_weight = (each.cycles or each.instructions for each in (function, total))
        label = f"{NAMELESS} of {function.file}" if function.name == NAMELESS else function.name[:100]
        cells.append(
            [
                *(label, _number(function.cycles, 1e6), f"{weight / all_weight:.1%}", *_counts(function)),
                *(_number(count, 1e6), _ratio(count, function.cycles), _ratio(count, function.instructions)),
            ]
        )
    return Table(
        ("function", "Mcycles", "share", *_COUNTS, "MMAC", "MAC/cycle", "MAC/instr"),
        cells,
    )


def _number(value: float | None, unit: float) -> str:
    return f"{value / unit:.3f}" if value and abs(value / unit) >= 5e-4 else "-"


def _ratio(value: float | None, other: float | None) -> str:
    return f"{value / other:.2f}" if value and other else "-"
