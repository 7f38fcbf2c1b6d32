"""What a function computes, read from its blocks: one step for each buffer that must exist.

    rows[h] = data[h - 1] or 0                         sum[h] = sum over k of (data[h + k - 1] or 0) * weight[k]
    sum[h] = sum over k of rows[h + k] * weight[k]  -->  result[h] = requantized(sum[h])
    scaled[h] = sum[h] * scale
    result[h] = rounded(scaled[h])

Kernels for GPUs are written from these steps: tiles, shared memory and who computes what are no loops of the
definition, so there is nothing in it that a schedule would have to undo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.s_tir import SBlock

from ...errors import TvmqError
from ...passes.realize.compute.annotations import BITS, INDEPENDENT, PACK, UNPACK
from .narrow import Narrowing, narrow_buffer

MOST_ELEMENTS = 2**31 - 2**16
"""Of a tensor: what 32 bits count, with room for threads behind the last element."""

Combine = Callable[[tirx.Expr, tirx.Expr], tirx.Expr]


@dataclass(frozen=True)
class Step:
    """The elements of one buffer.

    Attributes
    ----------
    buffer : what is written.
    axes, extents : the variables of an element, and how many values each has.
    index : where it is written, by ``axes``; elsewhere than at the axes themselves only in a part of a result.
    taps, tap_extents : variables that a reduction runs over; none of what is no reduction.
    value : of an element; of a reduction the term that each tap adds.
    start, combine : what a reduction begins with, and what joins two terms; None of what is no reduction.
    marks : annotations of its block.
    """

    buffer: tirx.Buffer
    axes: tuple[tirx.Var, ...]
    extents: tuple[int, ...]
    index: tuple[tirx.Expr, ...]
    taps: tuple[tirx.Var, ...]
    tap_extents: tuple[int, ...]
    value: tirx.Expr
    start: tirx.Expr | None
    combine: Combine | None
    marks: Mapping[str, Any]

    @property
    def is_reduction(self) -> bool:
        return bool(self.taps)

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self.extents)

    @property
    def length(self) -> int:
        """How many terms an element has."""
        return math.prod(self.tap_extents)

    def at(self, index: Sequence[tirx.Expr], taps: Sequence[tirx.Expr] = ()) -> tirx.Expr:
        """Return the value of an element, or its term."""
        known = dict(zip(self.axes, index, strict=True))
        return substituted(self.value, known | dict(zip(self.taps, taps, strict=True)))

    def index_at(self, index: Sequence[tirx.Expr]) -> list[tirx.Expr]:
        """Return where an element is written."""
        return [substituted(place, dict(zip(self.axes, index, strict=True))) for place in self.index]

    @property
    def is_part(self) -> bool:
        """Whether other steps write other parts of the buffer: the first of a concatenation is at its own axes."""
        is_smaller = tuple(int(extent) for extent in self.buffer.shape) != self.extents
        return is_smaller or not all(map(_same, self.index, self.axes))

    def start_at(self, index: Sequence[tirx.Expr]) -> tirx.Expr:
        """Return what the reduction of an element begins with."""
        return substituted(self.start, dict(zip(self.axes, index, strict=True)))


@dataclass(frozen=True)
class Opaque:
    """A step that is more than an expression: statements for each element of its axes, as they stand.

    Attributes
    ----------
    axes, extents, taps, tap_extents : as of ``Step``.
    name : of its block.
    launches : the statements have threads of their own.
    start, body : statements in front of the taps, and for each of them.
    own : buffers that each element has for itself.
    reads, writes : all other buffers.
    """

    axes: tuple[tirx.Var, ...]
    extents: tuple[int, ...]
    taps: tuple[tirx.Var, ...]
    tap_extents: tuple[int, ...]
    start: tirx.Stmt | None
    body: tirx.Stmt
    own: tuple[tirx.Buffer, ...]
    reads: tuple[tirx.Buffer, ...]
    writes: tuple[tirx.Buffer, ...]
    name: str
    launches: bool


@dataclass(frozen=True)
class Definition:
    """A function's parameters and its steps, each after those that it reads.

    Attributes
    ----------
    inside : steps of weights that are unpacked. Their readers compute them for themselves, and know that they are such.
    """

    params: tuple[tirx.Buffer, ...]
    steps: tuple[Step | Opaque, ...]
    inside: tuple[Step, ...] = ()

    def is_param(self, buffer: tirx.Buffer) -> bool:
        return any(buffer.same_as(param) for param in self.params)


def step_of(buffer: tirx.Buffer, steps: Iterable[Step]) -> Step | None:
    """Return the step that writes a buffer; None where there is none."""
    return next((step for step in steps if step.buffer.same_as(buffer)), None)


def substituted(expr: tirx.Expr, values: Mapping[tirx.Var, tirx.Expr]) -> tirx.Expr:
    """Return the expression with variables replaced."""
    return tvm_ffi.structural_map(expr, [(tirx.Var, lambda var: values.get(var, var))])


def loads(step: Step) -> list[TensorLoad]:
    """Return what a step reads."""
    found: list[TensorLoad] = []
    for expr in (step.value, step.start):
        if expr is not None:
            tvm_ffi.structural_walk(expr, [(TensorLoad, found.append)])
    return found


def read(func: tirx.PrimFunc) -> Definition:
    """Return what the function computes.

    Raises
    ------
    ValueError : that cannot be told from its blocks.
    TvmqError : one of its tensors is larger than kernels can count.
    """
    params = {buffer: _counted(buffer) for buffer in func.params}
    buffers = dict(params)
    blocks: list[SBlock] = []

    def note(block: SBlock) -> None:
        buffers.update({buffer: _counted(buffer) for buffer in block.alloc_buffers})
        if not any(isinstance(inner, SBlock) for inner in _inside(block)):
            blocks.append(block)

    tvm_ffi.structural_walk(func.body, [(SBlock, note)])
    if not blocks:
        raise ValueError("it has no blocks")
    steps = [_step(block, buffers, params) for block in blocks]
    return _inlined(Definition(tuple(params.values()), tuple(steps)))


def _counted(buffer: tirx.Buffer) -> tirx.Buffer:
    """Return the buffer with extents of 32 bits, if all that it has can be counted in them."""
    shape = [int(extent) for extent in buffer.shape]
    if math.prod(shape) > MOST_ELEMENTS:
        raise TvmqError(
            f"a kernel's tensor {buffer.name} {shape} has {math.prod(shape)} elements; "
            f"kernels of GPUs count to {MOST_ELEMENTS}: make the model's batch or image smaller"
        )
    return narrow_buffer(buffer)


def _inside(block: SBlock) -> list[SBlock]:
    found: list[SBlock] = []
    tvm_ffi.structural_walk(block.body, [(SBlock, found.append)])
    return found


def _step(
    block: SBlock, buffers: Mapping[tirx.Buffer, tirx.Buffer], params: Collection[tirx.Buffer]
) -> Step | Opaque:
    axes = [var for var in block.iter_vars if var.iter_type == tirx.IterVar.DataPar]
    taps = [var for var in block.iter_vars if var.iter_type == tirx.IterVar.CommReduce]
    if len(axes) + len(taps) < len(block.iter_vars):
        raise ValueError(f"its block {block.name_hint} has axes of another kind")
    narrow = {axis.var: tirx.Var(str(axis.var.name), "int32") for axis in block.iter_vars}
    rewrite = Narrowing(narrow, buffers)
    shape = (
        tuple(narrow[axis.var] for axis in axes),
        tuple(int(axis.dom.extent) for axis in axes),
        tuple(narrow[tap.var] for tap in taps),
        tuple(int(tap.dom.extent) for tap in taps),
    )
    store = block.body
    joined = _joined(store) if isinstance(store, tirx.BufferStore) else None
    adds = joined is not None
    if not isinstance(store, tirx.BufferStore) or (taps and not (adds and block.init is not None)):
        return _opaque(block, shape, rewrite, params)
    index = tuple(rewrite.index(place) for place in store.indices)
    value = rewrite(joined[1] if taps else store.value)
    start = rewrite(block.init.value) if taps else None
    combine = joined[0] if taps else None
    variables, extents = _without_ones(shape[0], shape[1], index)
    buffer = buffers[store.buffer]
    return Step(buffer, variables, extents, index, *shape[2:], value, start, combine, dict(block.annotations))


def _without_ones(
    axes: Sequence[tirx.Var], extents: Sequence[int], index: Sequence[tirx.Expr]
) -> tuple[tuple[tirx.Var, ...], tuple[int, ...]]:
    """Return the axes without the one that a block has for a buffer that has none."""
    if len(axes) == 1 and not index and extents[0] == 1:
        return (), ()
    return tuple(axes), tuple(extents)


def _opaque(block: SBlock, shape: tuple, rewrite: Narrowing, params: Collection[tirx.Buffer]) -> Opaque:
    axes, extents, taps, tap_extents = shape
    body = block.body
    local: dict[tirx.Buffer, tirx.Buffer] = {}
    if INDEPENDENT in block.annotations:
        loop = body
        if not isinstance(loop, tirx.For):
            raise ValueError(f"its block {block.name_hint} has no loop outside")
        axis = tirx.Var(str(loop.loop_var.name), "int32")
        touched = [buffer for touched in _touched(body) for buffer in touched if buffer not in params]
        local = {buffer: narrow_buffer(buffer, "local") for buffer in touched}
        rewrite = Narrowing({loop.loop_var: axis}, {**rewrite.buffers, **local})
        axes, extents, body = (axis,), (int(loop.extent),), loop.body
    start = None if block.init is None else rewrite(block.init)
    body = rewrite(body)
    reads, writes = _touched(body)
    own = tuple(local.values())
    return Opaque(
        axes,
        extents,
        taps,
        tap_extents,
        start,
        body,
        own,
        reads,
        writes,
        str(block.name_hint),
        _launches(body),
    )


def _launches(stmt: tirx.Stmt) -> bool:
    found: list[str] = []
    tvm_ffi.structural_walk(stmt, [(tirx.AttrStmt, lambda attr: found.append(str(attr.attr_key)))])
    return "thread_extent" in found


def _touched(stmt: tirx.Stmt) -> tuple[tuple[tirx.Buffer, ...], tuple[tirx.Buffer, ...]]:
    reads: dict[tirx.Buffer, None] = {}
    writes: dict[tirx.Buffer, None] = {}
    notes = [
        (TensorLoad, lambda load: reads.setdefault(load.source)),
        (tirx.BufferStore, lambda store: writes.setdefault(store.buffer)),
    ]
    tvm_ffi.structural_walk(stmt, notes)
    return tuple(reads), tuple(writes)


def _joined(store: tirx.BufferStore) -> tuple[Combine, tirx.Expr] | None:
    """Return what joins a stored element with a term, and the term; None where no element is joined with itself.

    Where integers have become wider on the way, as those that TE takes for indices, the term is made narrow instead.
    """
    value, dtype = store.value, str(store.buffer.dtype)
    is_wider = isinstance(value, tirx.Cast) and dtype == "int32" and str(value.value.ty.dtype) == "int64"
    value = value.value if is_wider else value
    if not isinstance(value, tirx.Add | tirx.Mul | tirx.Max | tirx.Min):
        return None
    own, term = value.a, value.b
    if is_wider:
        own, term = own.value if isinstance(own, tirx.Cast) else own, tirx.Cast(dtype, term)
    is_own = isinstance(own, TensorLoad) and own.source.same_as(store.buffer)
    return (
        (type(value), term)
        if is_own and tvm_ffi.structural_equal(list(own.indices), list(store.indices))
        else None
    )


def _same(one: tirx.Expr, other: tirx.Var) -> bool:
    return isinstance(one, tirx.Var) and one.same_as(other)


def _inlined(definition: Definition) -> Definition:
    """Return the definition without the steps that their readers compute for themselves.

    That is all that is no reduction, no result, not packed once, no bit of a byte, and not read by statements.
    """
    read_as_it_is = {
        buffer
        for step in definition.steps
        if isinstance(step, Opaque)
        for buffer in (*step.reads, *step.writes)
    }
    steps: list[Step | Opaque] = []
    values: list[Step] = []
    inside: list[Step] = []

    def expand(expr: tirx.Expr) -> tirx.Expr:
        def replaced(load: TensorLoad) -> tirx.Expr:
            for step in values:
                if step.buffer.same_as(load.source):
                    return step.at(load.indices if step.axes else ())
            return load

        return tvm_ffi.structural_map(expr, [(TensorLoad, replaced)])

    for step in definition.steps:
        if isinstance(step, Opaque):
            steps.append(step)
            continue
        start = None if step.start is None else expand(step.start)
        step = replace(step, value=expand(step.value), start=start)
        if step.is_reduction and step.length == 1:
            term = step.at(step.axes, [tirx.const(0, "int32")] * len(step.taps))
            value = step.combine(step.start, term)
            step = replace(step, taps=(), tap_extents=(), value=value, start=None, combine=None)
        must_exist = definition.is_param(step.buffer) or step.buffer in read_as_it_is
        if step.is_reduction or must_exist or step.is_part or not step.marks.keys().isdisjoint((PACK, BITS)):
            steps.append(step)
        elif UNPACK in step.marks:
            inside.append(step)
        else:
            values.append(step)
    return replace(definition, steps=tuple(steps), inside=tuple(inside))
