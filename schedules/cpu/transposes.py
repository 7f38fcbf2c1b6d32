"""Schedule of blocks that read along one axis and write along another: transposes, and what is fused with them.

    result[.., narrow, .., wide] = f(data[.., wide, .., narrow])        or the other way round

LLVM makes vectors along a wide axis of a loop whose body has the few elements of a narrow one, side by side in memory:
it shuffles them out of whole vectors, or into them. So

1. the longer of the two axes is the wide one; the other is cut into groups of a few elements
2. a group that is only a part of what lies side by side gets a strip of its own, ``[wide, group]``, a few kB: what is
   read is brought there first, or what is written is brought to its place from there
3. the loop over the wide axis is left to LLVM, with the group unrolled in it
"""

from __future__ import annotations

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ..blocks import extent_of

GROUP = 8
"""Elements side by side that LLVM still shuffles."""


def schedule_transpose(sch: Schedule, block: SBlockRV, loops: list[LoopRV], lanes: int) -> list[LoopRV]:
    """Schedule a block in place, if it transposes an input.

    Parameters
    ----------
    loops : of the block, one for each axis of the result.
    lanes : the shortest wide axis.

    Returns
    -------
    The outer loops, for threads to share; none, and nothing has changed, where this is no transpose or too small a one.
    """
    found = _transposed_input(sch, block)
    if found is None:
        return []
    index, order = found
    last = len(loops) - 1
    read, written = loops[order[-1]], loops[last]
    along_result = extent_of(sch, written) >= extent_of(sch, read)
    wide, narrow = (written, read) if along_result else (read, written)
    group = _group_of(extent_of(sch, narrow))
    if extent_of(sch, wide) < lanes or group == 1:
        return []
    # Whole rows of [wide, group] lie one behind the other: in the input, or in the result.
    together = order[-2] == last if along_result else order[-1] == last - 1
    needs_strip = not together or group != extent_of(sch, narrow)
    outer = [loop for loop in loops if loop is not wide and loop is not narrow]
    groups, narrow = sch.split(narrow, [None, group])
    outer.append(groups)
    sch.reorder(*outer, wide, narrow)
    sch.unroll(narrow)
    if needs_strip:
        _keep_strip(sch, block, groups, index if along_result else None)
    return outer


def _transposed_input(sch: Schedule, block: SBlockRV) -> tuple[int, list[int]] | None:
    """Return which input is read along another axis than the result's last, and along which each of its axes goes."""
    realized = sch.get(block)
    axes = {var.var: axis for axis, var in enumerate(realized.iter_vars)}
    for index, region in enumerate(realized.reads):
        order = [axes.get(place.min) for place in region.region if isinstance(place.min, tirx.Var)]
        whole = len(order) == len(region.region) and set(order) == set(range(len(axes)))
        if whole and order[-1] != len(axes) - 1:
            return index, order
    return None


def _group_of(extent: int) -> int:
    """Return the largest group that the axis is a whole number of."""
    return max(size for size in range(1, GROUP + 1) if extent % size == 0)


def _keep_strip(sch: Schedule, block: SBlockRV, groups: LoopRV, index: int | None) -> None:
    """Read the input of this index from a strip, one for each of ``groups``; None: write the result to one."""
    if index is not None:
        strip = sch.cache_read(block, index, "local")
        sch.compute_at(strip, groups)
    else:
        strip = sch.cache_write(block, 0, "local")
        sch.reverse_compute_at(strip, groups)
    sch.vectorize(sch.get_loops(strip)[-1])
