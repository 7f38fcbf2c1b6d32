"""From counts to modelled cycles, of a whole run and by function.

cycles = sum over traces (cycles of the repeated sequence x executions) + rest of the instructions / ``COLD_IPC``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...runtime.archive import LIBRARY
from .blocks import Counts, Place
from .cores import Core
from .mca import Pipeline, listing
from .symbols import symbols_of
from .traces import Trace, traces

COVERED = 0.999
"""Share of the executed instructions that is simulated; what runs most comes first."""
COLD_IPC = 1.0
"""Instructions a cycle of the others."""
_KERNEL = re.compile(r"^__tvm_ffi_(.+)|^(.+?)_compute_(?:\.\d+)?$")


@dataclass(frozen=True)
class Function:
    """What a function does in one run of the model.

    Attributes
    ----------
    name : its symbol; a kernel of tvmq's by its own name.
    file : name of its file.
    cycles : modelled; None where nothing was.
    instructions : executed.
    read, written : bytes of loads and stores.
    memory : bytes between the last cache and memory.
    """

    name: str
    file: str
    cycles: float | None
    instructions: float
    read: float
    written: float
    memory: float


def functions_of(counts: Mapping[Place, Counts], core: Core, with_cycles: bool = True) -> list[Function]:
    """Return the functions, those that take most first.

    Parameters
    ----------
    counts : of one run.
    with_cycles : model them, which needs LLVM's tools; else only counts.
    """
    cycles = cycles_of(counts, Pipeline(core.pipeline)) if with_cycles else {}
    members: dict[tuple[str, str], list[Place]] = {}
    for place in counts:
        members.setdefault((place.file, function_name(place)), []).append(place)
    functions = [
        Function(
            name,
            Path(file).name,
            sum(cycles[place] for place in places) if with_cycles else None,
            sum(counts[place].executions * place.instructions for place in places),
            sum(counts[place].read for place in places),
            sum(counts[place].written for place in places),
            sum(counts[place].memory for place in places),
        )
        for (file, name), places in members.items()
    ]
    return sorted(functions, key=lambda function: -(function.cycles or function.instructions))


@dataclass(frozen=True)
class Loop:
    """A sequence of instructions that a function runs again and again.

    Attributes
    ----------
    lines : the instructions.
    cycles : of one execution, modelled.
    executions : of it in one run of the model.
    """

    lines: tuple[str, ...]
    cycles: float
    executions: float


def loops_of(counts: Mapping[Place, Counts], core: Core, function: str, limit: int) -> list[Loop]:
    """Return the sequences of a function's blocks that take most cycles, those that take most first."""
    own = {place: count for place, count in counts.items() if function_name(place) == function}
    found = traces(own)
    cycles = Pipeline(core.pipeline).cycles([trace.code for trace in found])
    ordered = sorted(zip(cycles, found, strict=True), key=lambda pair: -pair[0] * pair[1].executions)[:limit]
    return [Loop(tuple(listing(trace.code)), once, trace.executions) for once, trace in ordered]


def whole(functions: list[Function], name: str) -> Function:
    """Return the sum of functions, under a name."""
    cycles = [function.cycles for function in functions if function.cycles is not None]
    return Function(
        name,
        "",
        sum(cycles) if cycles else None,
        sum(function.instructions for function in functions),
        sum(function.read for function in functions),
        sum(function.written for function in functions),
        sum(function.memory for function in functions),
    )


def function_name(place: Place) -> str:
    """Return the function that a block belongs to; of a kernel of tvmq's, entry and body have one name."""
    # TVM has a parallel loop's body behind the function that runs it, and gives it no symbol.
    symbol = symbols_of(place.file).at(place.offset, or_before=Path(place.file).name == LIBRARY)
    kernel = _KERNEL.match(symbol)
    return next(filter(None, kernel.groups())) if kernel else symbol


def cycles_of(counts: Mapping[Place, Counts], pipeline: Pipeline) -> dict[Place, float]:
    """Return the modelled cycles of each block in one run; a trace's are shared out by instructions."""
    ordered = sorted(traces(counts), key=lambda trace: -_instructions(trace))
    hot, executed = [], 0.0
    whole_run = sum(map(_instructions, ordered))
    for trace in ordered:
        if executed >= COVERED * whole_run:
            break
        hot.append(trace)
        executed += _instructions(trace)
    cycles = {place: counts[place].executions * place.instructions / COLD_IPC for place in counts}
    for trace, once in zip(hot, pipeline.cycles([trace.code for trace in hot]), strict=True):
        length = sum(place.instructions for place in trace.places)
        for place in trace.places:
            cycles[place] = once * trace.executions * place.instructions / length
    return cycles


def _instructions(trace: Trace) -> float:
    return trace.executions * sum(place.instructions for place in trace.places)
