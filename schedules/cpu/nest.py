"""The loops of a contraction, and its blocks of sums."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ...passes.realize.compute.annotations import MATRIX, STEPS, WORDS
from ..blocks import extent_of_all


@dataclass(frozen=True)
class Nest:
    """The accumulator's loops: spatial ones outside the rows, rows, channel blocks, lanes, and the reduction.

    ``shared`` are further rows, all of one register tile: those that read the same input. ``steps`` are the groups that
    one instruction takes, where it takes several. ``unrolled`` says that the taps are few enough to be written out.

    Where an instruction takes two rows, ``rows`` counts pairs of them, and ``lanes`` are pairs of channels, rows and
    channels; else it is one loop.
    """

    outer: list[LoopRV]
    shared: list[LoopRV]
    rows: LoopRV
    blocks: LoopRV
    lanes: list[LoopRV]
    taps: list[LoopRV]
    steps: list[LoopRV]
    depth: LoopRV | None
    unrolled: bool
    rows_together: int = 1

    def held_steps(self, sch: Schedule) -> int:
        """Return of how many steps weights are in registers at a time: an instruction of two rows is several."""
        return 1 if self.rows_together > 1 else extent_of_all(sch, self.steps)


@dataclass(frozen=True)
class Sums:
    """The blocks that add products up: the accumulator, and the narrow sums that it adds up where there are such.

    ``into_rows`` brings an accumulator of two rows at a time into rows; None for any other.
    """

    accumulator: SBlockRV
    narrow: SBlockRV | None
    into_rows: SBlockRV | None

    @property
    def of_products(self) -> SBlockRV:
        """The one that reads data and weights."""
        return self.narrow or self.accumulator


def steps_of(sch: Schedule, accumulator: SBlockRV) -> int:
    """Return how many groups an instruction takes."""
    return int(sch.get(accumulator).annotations.get(STEPS, 1))


def nest_of(sch: Schedule, accumulator: SBlockRV, spatial: int, family: str) -> Nest:
    loops = sch.get_loops(accumulator)
    annotations = sch.get(accumulator).annotations
    is_matrix = MATRIX in annotations
    first_lane = spatial - (3 if is_matrix else 1)
    *outer, rows, blocks = loops[:first_lane]
    lanes = loops[first_lane:spatial]
    if family == "depthwise":
        return Nest(outer, [], rows, blocks, lanes, loops[spatial:], [], None, True)
    *taps, depth = loops[spatial:]
    if family == "row groups":
        return Nest(outer[:-1], outer[-1:], rows, blocks, lanes, taps, [], depth, True)
    if WORDS in annotations:
        word, plane = taps
        words, inside = int(annotations[WORDS]), [plane]
        if words > 1:
            word, *inner = sch.split(word, [None, words])
            inside = [*inner, plane]
        return Nest(outer, [], rows, blocks, lanes, [word], inside, depth, False)
    steps, inside = steps_of(sch, accumulator), []
    if steps > 1:
        *front, last = taps
        last, step = sch.split(last, [None, steps])
        taps, inside = [*front, last], [step]
    return Nest(outer, [], rows, blocks, lanes, taps, inside, depth, False, 2 if is_matrix else 1)
