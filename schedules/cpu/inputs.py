"""What a contraction reads, prepared where it is needed: rows padded or side by side, weights widened or unpacked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ...passes.realize.compute.annotations import KERNEL, PACK, UNPACK
from ...targets import intrinsics
from ...targets.row import TargetRow
from ..blocks import bytes_of, extent_of, item_bytes, split_vector
from ..space import Decide

WHOLE_VECTORS = 4
"""A row of so many vectors is copied by whole ones, with a shorter one at the end, where no wide vector divides it."""


@dataclass(frozen=True)
class Inputs:
    """The blocks that prepare what the accumulator reads; None where it is read as it comes."""

    rows: SBlockRV | None
    groups: SBlockRV | None
    weights: SBlockRV | None

    @classmethod
    def of(cls, sch: Schedule, sums: SBlockRV, sources: list[SBlockRV]) -> Inputs:
        """Return those of the block that adds products up."""
        data, weights = (_producer(sch, sums, sources, operand) for operand in (-2, -1))
        if str(sch.get(sums).annotations.get(KERNEL, "")) != "row groups":
            return cls(data, None, weights)
        return cls(_producer(sch, data, sources, -1), data, weights)

    def is_packed(self, sch: Schedule) -> bool:
        """Tell whether the weights are an activation, of which each batch has its own."""
        return self.weights is not None and PACK in sch.get(self.weights).annotations

    def unpacks(self, sch: Schedule) -> bool:
        """Tell whether weights come packed."""
        return self.weights is not None and UNPACK in sch.get(self.weights).annotations

    def place(
        self,
        sch: Schedule,
        at_chunk: LoopRV | None,
        at_block: LoopRV,
        chunks: int,
        row: TargetRow,
        decide: Decide,
    ) -> None:
        """Compute the inputs where they are needed.

        Parameters
        ----------
        at_chunk : loop over the ``chunks``; None where threads share blocks instead.
        at_block : loop over the blocks of channels, inside.
        """
        if self.groups is not None:
            sch.compute_at(self.groups, at_block, preserve_unit_loops=True)
            # A pass over whole rows is faster, as long as they stay in the first-level cache or near it.
            near = bytes_of(sch.get(self.rows).writes[0].source) // chunks <= 2 * row.l1_bytes
            wanted = ("chunk", "block") if near else ("block", "chunk")
            by_chunk = at_chunk is not None and decide("pad", wanted) == "chunk"
            _schedule_rows(sch, self.rows, at_chunk if by_chunk else at_block, row)
            # Last: a block that has become an instruction can be no reader of another that is moved.
            sch.tensorize(sch.get_loops(self.groups)[-2], intrinsics.register(row.lane_dot.interleave))
        elif self.rows is not None:
            _schedule_rows(sch, self.rows, at_chunk, row)
        if self.is_packed(sch):
            *outer, lane, depth = sch.get_loops(self.weights)
            sch.vectorize(sch.fuse(lane, depth))
            sch.parallel(sch.fuse(*outer))
        elif self.weights is not None:
            self._place_weights(sch, at_block, row)

    def _place_weights(self, sch: Schedule, at_block: LoopRV, row: TargetRow) -> None:
        """Widen or unpack weights a block of channels at a time; all of them at once where they are few."""
        block = sch.get(self.weights)
        if not self.unpacks(sch) or bytes_of(block.writes[0].source) > row.l1_bytes // 2:
            sch.compute_at(self.weights, at_block, preserve_unit_loops=True)
        *_, step, lane, depth = sch.get_loops(self.weights)
        if self.unpacks(sch):
            # The steps of one word side by side: it is read once.
            _, plane = sch.split(step, [None, int(block.annotations[UNPACK])])
            sch.unroll(plane)
        sch.vectorize(sch.fuse(lane, depth))


def _producer(sch: Schedule, reader: SBlockRV, sources: list[SBlockRV], operand: int) -> SBlockRV | None:
    """Return the block that writes what another reads as its ``operand``; None for a parameter."""
    wanted = sch.get(reader).reads[operand].source
    return next((block for block in sources if sch.get(block).writes[0].source.same_as(wanted)), None)


def _schedule_rows(sch: Schedule, rows: SBlockRV, loop: LoopRV | None, row: TargetRow) -> None:
    """Compute the padded, widened input at ``loop``, or once in parallel at the root."""
    if loop is not None:
        sch.compute_at(rows, loop, preserve_unit_loops=True)
    buffer = sch.get(rows).writes[0].source
    loops = sch.get_loops(rows)[-len(buffer.shape) :]
    lanes, extent = row.vector_bits // (8 * item_bytes(buffer)), extent_of(sch, loops[-1])
    if 4 * math.gcd(extent, lanes) < lanes and extent >= WHOLE_VECTORS * lanes:
        whole, vector = sch.split(loops[-1], [None, lanes])
        # The last, shorter one becomes a loop of its own, and so do the first and the last where they meet padding.
        sch.annotate(whole, "pragma_loop_partition_hint", 1)
        sch.vectorize(vector)
    else:
        split_vector(sch, loops[-1], lanes)
    if loop is None:
        sch.parallel(sch.fuse(*loops[:-1]))
