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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.s_tir import SBlock

from ...passes.realize.compute.annotations import PACK

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
        """Whether other steps write other parts of the buffer."""
        return len(self.index) != len(self.axes) or not all(map(_same, self.index, self.axes))

    def start_at(self, index: Sequence[tirx.Expr]) -> tirx.Expr:
        """Return what the reduction of an element begins with."""
        return substituted(self.start, dict(zip(self.axes, index, strict=True)))


@dataclass(frozen=True)
class Definition:
    """A function's parameters and its steps, each after those that it reads."""

    name: str
    params: tuple[tirx.Buffer, ...]
    steps: tuple[Step, ...]

    def is_param(self, buffer: tirx.Buffer) -> bool:
        return any(buffer.same_as(param) for param in self.params)

    def step_of(self, buffer: tirx.Buffer) -> Step | None:
        """Return the step that writes a buffer."""
        return next((step for step in self.steps if step.buffer.same_as(buffer)), None)

    def readers(self, step: Step) -> list[Step]:
        """Return the steps that read one's elements."""
        return [
            other for other in self.steps if any(load.source.same_as(step.buffer) for load in loads(other))
        ]


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


def read(func: tirx.PrimFunc) -> Definition | str:
    """Return what the function computes, or why it cannot be told from its blocks."""
    narrow = tirx.transform.ForceNarrowIndexToInt32()(tvm.IRModule({"main": func}))["main"]
    params = tuple(narrow.params)
    steps: list[Step] = []
    problems: list[str] = []

    def note(block: SBlock) -> None:
        if not block.iter_vars:
            return
        step = _step(block)
        if isinstance(step, str):
            problems.append(step)
        else:
            steps.append(step)

    tvm_ffi.structural_walk(narrow.body, [(SBlock, note)])
    if problems:
        return problems[0]
    if not all(step.buffer in params for step in steps if step.is_part):
        return "has a block that writes a part of what others read"
    if not all(isinstance(param, tirx.Buffer) for param in params):
        return "has parameters that are no buffers"
    name = str(func.attrs["global_symbol"]) if func.attrs and "global_symbol" in func.attrs else "main"
    return _inlined(Definition(name, params, tuple(steps)))


def _step(block: SBlock) -> Step | str:
    axes = [var for var in block.iter_vars if var.iter_type == tirx.IterVar.DataPar]
    taps = [var for var in block.iter_vars if var.iter_type == tirx.IterVar.CommReduce]
    if len(axes) + len(taps) < len(block.iter_vars):
        return "has a block with axes of another kind"
    store = block.body
    if not isinstance(store, tirx.BufferStore):
        return "has a block that is more than one store"
    variables = tuple(axis.var for axis in axes)
    value, start, combine = store.value, None, None
    if taps:
        if not isinstance(block.init, tirx.BufferStore):
            return "has a reduction without a start"
        own, term = _operands(value)
        if not isinstance(own, TensorLoad) or not own.source.same_as(store.buffer):
            return "has a reduction of a kind that is not known"
        start, combine, value = block.init.value, type(value), term
    return Step(
        store.buffer,
        variables,
        tuple(int(axis.dom.extent) for axis in axes),
        tuple(store.indices),
        tuple(tap.var for tap in taps),
        tuple(int(tap.dom.extent) for tap in taps),
        value,
        start,
        combine,
        dict(block.annotations),
    )


def _operands(value: tirx.Expr) -> tuple[tirx.Expr | None, tirx.Expr | None]:
    if isinstance(value, tirx.Add | tirx.Max | tirx.Min):
        return value.a, value.b
    return None, None


def _same(one: tirx.Expr, other: tirx.Var) -> bool:
    return isinstance(one, tirx.Var) and one.same_as(other)


def _inlined(definition: Definition) -> Definition:
    """Return the definition with every step inside its readers that is no reduction, no result and not packed once."""
    steps: list[Step] = []
    values: list[Step] = []

    def expand(expr: tirx.Expr) -> tirx.Expr:
        def replaced(load: TensorLoad) -> tirx.Expr:
            for step in values:
                if step.buffer.same_as(load.source):
                    return step.at(load.indices)
            return load

        return tvm_ffi.structural_map(expr, [(TensorLoad, replaced)])

    for step in definition.steps:
        step = replace(
            step, value=expand(step.value), start=None if step.start is None else expand(step.start)
        )
        if step.is_reduction and step.length == 1:
            term = step.at(step.axes, [tirx.const(0, "int32")] * len(step.taps))
            value = step.combine(step.start, term)
            step = replace(step, taps=(), tap_extents=(), value=value, start=None, combine=None)
        if step.is_reduction or definition.is_param(step.buffer) or PACK in step.marks:
            steps.append(step)
        else:
            values.append(step)
    return replace(definition, steps=tuple(steps))
