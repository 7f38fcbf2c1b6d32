"""A kernel of an open extent as loops over scheduled kernels of fixed ones, the largest first.

    for i in S // 64: kernel of 64 rows, from row 64 i
    for i in S % 64 // 32: kernel of 32 rows, behind those
    ...
    for i in S % 2: kernel of 1 row

Each part is what a model of that size has, with its tensors as regions of the whole ones. Extents divide each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import MatchBufferRegion, SBlock, SBlockRealize

from .axes import Axis

Starts = Mapping[int, tirx.Expr]
"""Where along each axis a part starts, by the axis' number."""


@dataclass(frozen=True)
class Part:
    """A scheduled kernel, and how long it is along each axis."""

    func: tirx.PrimFunc
    extents: tuple[int, ...]


def driver(whole: tirx.PrimFunc, axes: Sequence[Axis], parts: Sequence[Part]) -> tirx.PrimFunc:
    """Return the function that computes ``whole`` by its parts.

    Parameters
    ----------
    whole : the function of any size; its parameters, shapes included, are those of the result.
    axes : those that it is cut along.
    parts : the largest first; they differ along the last axis alone.
    """
    shortest = parts[-1].extents
    loops = [
        (tirx.Var(f"part_{number}", "int64"), axis.extent // shortest[number])
        for number, axis in enumerate(axes)
    ]
    starts = {number: var * shortest[number] for number, (var, _) in enumerate(loops)}
    last = len(axes) - 1
    done: list[tirx.Stmt] = []
    left = axes[last].extent
    for part in parts:
        length = part.extents[last]
        var = tirx.Var("part", "int64")
        start = axes[last].extent - left + var * length
        done.append(_loop(var, left // length, _call(whole, axes, part, {**starts, last: start})))
        left = left % length
    body = tirx.SeqStmt(done) if len(done) > 1 else done[0]
    for var, extent in reversed(loops[:last]):
        body = _loop(var, extent, body)
    root = SBlock([], [], [], "root", body)
    func = whole.with_body(SBlockRealize([], tirx.const(True), root))
    return func.with_attr("tirx.is_scheduled", True)


def _loop(var: tirx.Var, extent: tirx.Expr, body: tirx.Stmt) -> tirx.Stmt:
    return tirx.For(var, tirx.IntImm("int64", 0), extent, tirx.ForKind.SERIAL, body)


def _call(whole: tirx.PrimFunc, axes: Sequence[Axis], part: Part, starts: Starts) -> tirx.Stmt:
    """Return the part's body on its regions of the whole tensors."""
    owns = {place: number for number, axis in enumerate(axes) for place in axis.places}
    views: dict[tirx.Var, tirx.Var] = {}
    regions = []
    for number, (own, source) in enumerate(zip(part.func.params, whole.params, strict=True)):
        views[own] = _view(own)
        zero = tirx.IntImm("int64", 0)
        region = [
            tvm.ir.Range.from_min_extent(starts[owns[number, dim]] if (number, dim) in owns else zero, extent)
            for dim, extent in enumerate(own.shape)
        ]
        regions.append(MatchBufferRegion(views[own], tirx.BufferRegion(source, region)))
    func = tvm_ffi.structural_map(part.func, [(tvm.ir.Var, lambda var: views.get(var, var))])
    root = func.body.block if isinstance(func.body, SBlockRealize) else SBlock([], [], [], "part", func.body)
    block = SBlock(
        *([], [one.source for one in regions], [one.source for one in regions], root.name_hint, root.body),
        alloc_buffers=root.alloc_buffers,
        match_buffers=regions,
        annotations=root.annotations,
    )
    return SBlockRealize([], tirx.const(True), block)


def _view(param: tirx.Buffer) -> tirx.Buffer:
    """Return a tensor like a parameter that may lie within another."""
    rank = len(param.shape)
    return tirx.decl_buffer(
        *(param.shape, param.dtype, param.name),
        strides=[tirx.Var(f"{param.name}_stride_{dim}", "int64") for dim in range(rank)],
        elem_offset=tirx.Var(f"{param.name}_offset", "int64"),
        offset_factor=1,
    )
