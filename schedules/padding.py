"""Taps of a convolution that read padding alone are left out of its sums.

    for kh: for kw: tile += rows[h + kh, w + kw] * weight[kh, kw]
    -->
    for kh: if row h + kh lies in the data: for kw: if one of the tile's columns does: ...

That saves one row in three at the upper and lower border of a 3x3 convolution, and most of one that is dilated as
widely as its image is large. Tensor expressions have no word for it; hence this rewrite of scheduled functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock, SBlockRealize

from ..passes.realize.compute.annotations import INSIDE, NARROW

_PLACES = (2, 3)
"""Height and width of the result among the axes of sums."""
_TAPS = {"accumulator_update": (6, 7), "partial_update": (10, 11)}
"""How the names of blocks of sums begin, and height and width of the kernel among their axes. Where there are narrow
sums, either has a loop over the whole of it, which can be left out in part, or both have loops over parts."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.SkipPadding")
@dataclass(frozen=True)
class SkipPadding:
    """Rewrite every scheduled function whose accumulator is marked ``INSIDE``."""

    def transform_module(self, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Return the module with conditions around taps."""
        mod = mod.clone()
        for var, func in mod.functions.items():
            if isinstance(func, tirx.PrimFunc):
                mod.update_func(var, skip_padding(func))
        return mod


def skip_padding(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the function without sums of padding; as it is where it is not marked, or no tap reads padding alone."""
    marks: list[list[int]] = []
    taps_of_sum: list[int] = []
    updates: list[tuple[SBlockRealize, tuple[int, int]]] = []
    loops: dict[tirx.Var, tirx.For] = {}

    def note_block(block: SBlock) -> None:
        if INSIDE in block.annotations:
            marks.append([int(number) for number in block.annotations[INSIDE]])
        if NARROW in block.annotations:
            taps_of_sum[:] = [int(extent) for extent in block.annotations[NARROW]]

    def note_update(realize: SBlockRealize) -> None:
        for name, taps in _TAPS.items():
            if str(realize.block.name_hint).startswith(name):
                updates.append((realize, taps))

    def note_loop(loop: tirx.For) -> None:
        loops[loop.loop_var] = loop

    notes = [(SBlock, note_block), (SBlockRealize, note_update), (tirx.For, note_loop)]
    tvm_ffi.structural_walk(func.body, notes)
    if not marks or not updates:
        return func
    conditions = {}
    for update, taps in updates:
        for axis, (place, tap) in enumerate(zip(_PLACES, taps, strict=True)):
            loop = loops.get(update.iter_values[tap])
            if loop is None or (taps_of_sum and int(loop.extent) != taps_of_sum[axis]):
                continue
            condition = _condition(update, place, loop, loops, marks[0][4 * axis : 4 * axis + 4])
            if condition is not None:
                conditions[update.iter_values[tap]] = condition

    def rewrite(loop: tirx.For) -> tirx.For:
        if loop.loop_var not in conditions:
            return loop
        body = tirx.IfThenElse(conditions[loop.loop_var], loop.body, None)
        return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, annotations=loop.annotations)

    return func.with_body(tvm_ffi.structural_map(func.body, [(tirx.For, rewrite)])) if conditions else func


def _condition(
    update: SBlockRealize, place: int, tap: tirx.For, loops: dict[tirx.Var, tirx.For], mark: list[int]
) -> tirx.Expr | None:
    """Return when a tap reads data for one of the places of a register tile; None where it always does.

    Parameters
    ----------
    place : which axis of the sums.
    tap : the loop over all of the kernel along it.
    mark : stride, dilation, padding in front and extent of the data along it.
    """
    stride, dilation, front, extent = mark
    # What is unrolled is a register tile: the taps go around it.
    tile: list[tirx.For] = []

    def end(is_last: bool) -> tirx.Expr:
        def value(var: tirx.Var) -> tirx.Expr:
            loop = loops[var]
            if loop.kind != tirx.ForKind.UNROLLED:
                return var
            tile.append(loop)
            return loop.extent - 1 if is_last else tirx.IntImm(var.ty, 0)

        return tvm_ffi.structural_map(update.iter_values[place], [(tirx.Var, value)])

    first, last = end(is_last=False), end(is_last=True)
    width = math.prod({loop.loop_var: int(loop.extent) for loop in tile}.values())
    starts = range(0, int(update.block.iter_vars[place].dom.extent), width)
    taps = range(0, int(tap.extent) * dilation, dilation)

    def reads(start: int, shift: int) -> bool:
        return (start + width - 1) * stride + shift >= front and start * stride + shift < front + extent

    if all(reads(start, shift) for start, shift in product(starts, taps)):
        return None
    shift = tap.loop_var * dilation
    return tirx.all(last * stride + shift >= front, first * stride + shift < front + extent)
