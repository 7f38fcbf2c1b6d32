"""Small questions about a schedule's blocks and loops, and the inlining that every rule does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tvm import tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV


def extent_of(sch: Schedule, loop: LoopRV) -> int:
    """Return the loop's constant extent."""
    return int(sch.get(loop).extent)


PARALLEL_WORK = 1 << 13
"""Loop iterations under which threads cost more than they save."""


def size_of(shape: Sequence[tirx.Expr | int]) -> tirx.Expr | int:
    """Return how many numbers a tensor has: an expression where an extent is open."""
    fixed = math.prod(int(extent) for extent in shape if not _is_open(extent))
    size: tirx.Expr | int = fixed
    for extent in filter(_is_open, shape):
        size = extent * size
    return size


def is_large(size: tirx.Expr | int) -> bool:
    """Tell whether so many steps are worth threads; an open number is."""
    return _is_open(size) or int(size) >= PARALLEL_WORK


def _is_open(extent: tirx.Expr | int) -> bool:
    return not isinstance(extent, int | tirx.IntImm)


def is_fixed(sch: Schedule, loop: LoopRV) -> bool:
    """Tell whether the loop's extent is constant."""
    return isinstance(sch.get(loop).extent, tirx.IntImm)


def extent_of_all(sch: Schedule, loops: list[LoopRV]) -> int:
    """Return the product of the loops' extents."""
    return math.prod(extent_of(sch, loop) for loop in loops)


def item_bytes(buffer: tirx.Buffer) -> int:
    """Return the size of one element of a buffer, in bytes."""
    return np.dtype(str(buffer.dtype)).itemsize


def bytes_of(buffer: tirx.Buffer) -> int:
    """Return the size of a buffer of static shape, in bytes."""
    return math.prod(int(extent) for extent in buffer.shape) * item_bytes(buffer)


def root_blocks(sch: Schedule) -> list[SBlockRV]:
    """Return the blocks of the function in order; of one that is a lone opaque block, that block."""
    top = sch.get_sblock(sch.mod["main"].body.block.name_hint)
    return list(sch.get_child_blocks(top)) or [top]


def is_elementwise(sch: Schedule, block: SBlockRV) -> bool:
    """Tell whether the block has no reduction, so that it can be inlined or is one pass over its output."""
    return all(var.iter_type == tirx.IterVar.DataPar for var in sch.get(block).iter_vars)


def inline_elementwise(sch: Schedule, followers: list[SBlockRV]) -> SBlockRV:
    """Inline all blocks but the last into their consumers, and return the last."""
    *inner, last = followers
    for block in inner:
        sch.compute_inline(block)
    return last


def split_vector(sch: Schedule, loop: LoopRV, lanes: int) -> LoopRV:
    """Vectorize ``loop`` in steps of at most ``lanes`` that divide its extent; return the loop that remains outside."""
    width = math.gcd(extent_of(sch, loop), lanes)
    outside, inside = sch.split(loop, [None, width])
    if width > 1:
        sch.vectorize(inside)
    return outside
