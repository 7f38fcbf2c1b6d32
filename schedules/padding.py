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

from ..passes.realize.compute.annotations import INSIDE

_UPDATE = "accumulator_update"
_PLACES, _TAPS = (2, 3), (6, 7)
"""Of the accumulator's axes: height and width of the result, and those of the kernel."""


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
    updates: list[SBlockRealize] = []
    loops: dict[tirx.Var, tirx.For] = {}

    def note_block(block: SBlock) -> None:
        if INSIDE in block.annotations:
            marks.append([int(number) for number in block.annotations[INSIDE]])

    def note_update(realize: SBlockRealize) -> None:
        if str(realize.block.name_hint).startswith(_UPDATE):
            updates.append(realize)

    def note_loop(loop: tirx.For) -> None:
        loops[loop.loop_var] = loop

    notes = [(SBlock, note_block), (SBlockRealize, note_update), (tirx.For, note_loop)]
    tvm_ffi.structural_walk(func.body, notes)
    if not marks or not updates:
        return func
    conditions = {}
    for axis, (place, tap) in enumerate(zip(_PLACES, _TAPS, strict=True)):
        condition = _condition(updates[0], place, tap, loops, marks[0][4 * axis : 4 * axis + 4])
        if condition is not None:
            conditions[updates[0].iter_values[tap]] = condition

    def rewrite(loop: tirx.For) -> tirx.For:
        if loop.loop_var not in conditions:
            return loop
        body = tirx.IfThenElse(conditions[loop.loop_var], loop.body, None)
        return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, annotations=loop.annotations)

    return func.with_body(tvm_ffi.structural_map(func.body, [(tirx.For, rewrite)])) if conditions else func


def _condition(
    update: SBlockRealize, place: int, tap: int, loops: dict[tirx.Var, tirx.For], mark: list[int]
) -> tirx.Expr | None:
    """Return when a tap reads data for one of the places of a register tile; None where it always does.

    Parameters
    ----------
    place, tap : which axes of the accumulator.
    mark : stride, dilation, padding in front and extent of the data along them.
    """
    stride, dilation, front, extent = mark
    tap_value = update.iter_values[tap]
    if tap_value not in loops:
        return None
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
    taps = range(0, int(loops[tap_value].extent) * dilation, dilation)

    def reads(start: int, shift: int) -> bool:
        return (start + width - 1) * stride + shift >= front and start * stride + shift < front + extent

    if all(reads(start, shift) for start, shift in product(starts, taps)):
        return None
    shift = tap_value * dilation
    return tirx.all(last * stride + shift >= front, first * stride + shift < front + extent)
