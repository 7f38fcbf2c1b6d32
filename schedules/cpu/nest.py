"""The loops of a contraction, and its blocks of sums."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ...passes.realize.compute.annotations import STEPS, WORDS


@dataclass(frozen=True)
class Nest:
    """The accumulator's loops: spatial ones outside the rows, rows, channel blocks, lanes, and the reduction.

    ``shared`` are further rows, all of one register tile: those that read the same input. ``steps`` are the groups that
    one instruction takes, where it takes several. ``unrolled`` says that the taps are few enough to be written out.
    """

    outer: list[LoopRV]
    shared: list[LoopRV]
    rows: LoopRV
    blocks: LoopRV
    lane: LoopRV
    taps: list[LoopRV]
    steps: list[LoopRV]
    depth: LoopRV | None
    unrolled: bool


@dataclass(frozen=True)
class Sums:
    """The blocks that add products up: the accumulator, and the narrow sums that it adds up where there are such."""

    accumulator: SBlockRV
    narrow: SBlockRV | None

    @property
    def of_products(self) -> SBlockRV:
        """The one that reads data and weights."""
        return self.narrow or self.accumulator


def steps_of(sch: Schedule, accumulator: SBlockRV) -> int:
    """Return how many groups an instruction takes."""
    return int(sch.get(accumulator).annotations.get(STEPS, 1))


def nest_of(sch: Schedule, accumulator: SBlockRV, spatial: int, family: str) -> Nest:
    loops = sch.get_loops(accumulator)
    *outer, rows, blocks, lane = loops[:spatial]
    if family == "depthwise":
        return Nest(outer, [], rows, blocks, lane, loops[spatial:], [], None, True)
    *taps, depth = loops[spatial:]
    if family == "row groups":
        return Nest(outer[:-1], outer[-1:], rows, blocks, lane, taps, [], depth, True)
    annotations = sch.get(accumulator).annotations
    if WORDS in annotations:
        word, plane = taps
        words, inside = int(annotations[WORDS]), [plane]
        if words > 1:
            word, *inner = sch.split(word, [None, words])
            inside = [*inner, plane]
        return Nest(outer, [], rows, blocks, lane, [word], inside, depth, False)
    steps = steps_of(sch, accumulator)
    if steps == 1:
        return Nest(outer, [], rows, blocks, lane, taps, [], depth, False)
    step_outer, step_inner = sch.split(taps[-1], [None, steps])
    return Nest(outer, [], rows, blocks, lane, [*taps[:-1], step_outer], [step_inner], depth, False)
