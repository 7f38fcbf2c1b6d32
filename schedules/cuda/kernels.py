"""A function's definition --> its launches: one kernel for each result that cannot be computed within another's.

packed, sums, result  -->  packed by threads;  sums and result by a product
most, total, result   -->  all by rows
sums, result          -->  both by threads, or, where a sum serves several elements, one after the other
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...passes.realize.compute.annotations import KERNEL
from ...targets.row import Gpu, TargetRow
from ..space import Decide, analytic
from . import product, rows, statements, threads
from .definition import Definition, Opaque, Step, read
from .lowering import OWN_BARRIERS

MOST_BLOCKS_ALONG_Z = 65535
"""Of a launch, as CUDA has it. A product has one for each number of its batch."""


def cuda_kernel(func: tirx.PrimFunc, row: TargetRow, decide: Decide = analytic) -> tirx.PrimFunc:
    """Return the function as kernels of a GPU.

    Parameters
    ----------
    func : not scheduled, of blocks that each write the elements of a buffer.

    Raises
    ------
    ValueError : some of it is nothing that threads can share.
    """
    definition = read(func)
    with IRBuilder() as builder, T.prim_func():
        T.func_name("main")
        kept = {name: value for name, value in dict(func.attrs or {}).items() if name != "s_tir"}
        T.func_attr({**kept, "tirx.is_scheduled": True, "tirx.noalias": True, OWN_BARRIERS: True})
        for buffer in definition.params:
            T.arg(str(buffer.name), buffer)
        kernels = _Kernels(definition, row.gpu, decide)
        kernels.emit()
        if not kernels.launches:  # nothing has any elements
            T.evaluate(0)
    return builder.get()


class _Kernels:
    """Emits the launches of a definition, in order."""

    def __init__(self, definition: Definition, gpu: Gpu, decide: Decide) -> None:
        self.definition, self.gpu, self.decide = definition, gpu, decide
        self.stored: list[tuple[tirx.Buffer, tirx.Buffer]] = []
        self.launches = 0

    def emit(self) -> None:
        waiting: list[Step] = []
        for step in self.definition.steps:
            if isinstance(step, Opaque):
                for reduction in waiting:
                    self._alone(reduction)
                waiting = []
                self._statements(step)
                continue
            if step.is_reduction and not self.definition.is_param(step.buffer):
                waiting.append(step)
                continue
            if step.is_reduction:  # a result by itself
                total = replace(step, buffer=buffer_like(step.buffer, "total"))
                waiting.append(total)
                step = _copy(total, step.buffer)
            self._launch(waiting, step)
            waiting = []

    def _launch(self, reductions: Sequence[Step], result: Step) -> None:
        """Emit the kernels of a result and the reductions on the way to it."""
        result = self._stored(result)
        reductions = [self._stored(step) for step in reductions]
        if not self.definition.is_param(result.buffer):
            result = replace(result, buffer=self._store(result.buffer))
        if not result.size:
            return
        self.launches += 1
        if not self._together(reductions, result):
            for reduction in reductions:
                self._alone(reduction)
            self._together([], self._stored(result))

    def _alone(self, reduction: Step) -> None:
        """Emit the kernel of a reduction, whose result goes to memory."""
        self.launches += 1
        reduction = self._stored(reduction)
        copy = _copy(reduction, self._store(reduction.buffer))
        if not self._together([reduction], copy):
            raise ValueError(f"no kernel computes {reduction.buffer.name} by itself")

    def _together(self, reductions: Sequence[Step], result: Step) -> bool:
        """Emit one kernel for all; False where none can."""
        if len(reductions) == 1 and reductions[0].marks.get(KERNEL) == "contraction":
            found = product.product_of(reductions[0], result)
            if found is not None and found.count(found.batch) <= MOST_BLOCKS_ALONG_Z:
                product.emit(found, self.gpu, self.decide)
                return True
        by_rows = rows.rows_of(reductions, result)
        if by_rows is not None:
            rows.emit(by_rows)
            return True
        if len(reductions) > 1 or not threads.fits(result, reductions[0] if reductions else None):
            return False
        threads.emit(result, reductions[0] if reductions else None, self.gpu)
        return True

    def _statements(self, step: Opaque) -> None:
        """Emit the kernel of a step of statements."""
        for buffer in step.writes:
            if (
                not self.definition.is_param(buffer)
                and not self._is_stored(buffer)
                and buffer not in step.own
            ):
                self._store(buffer)
        if all(map(int, (*step.extents, *(extent for buffer in step.writes for extent in buffer.shape)))):
            self.launches += 1
            statements.emit(step, dict(self.stored))

    def _is_stored(self, buffer: tirx.Buffer) -> bool:
        return any(buffer.same_as(known) for known, _ in self.stored)

    def _store(self, buffer: tirx.Buffer) -> tirx.Buffer:
        """Emit memory for a buffer that one kernel leaves to another."""
        stored = T.alloc_buffer([int(extent) for extent in buffer.shape], str(buffer.dtype), scope="global")
        self.stored.append((buffer, stored))
        return stored

    def _stored(self, step: Step) -> Step:
        """Return the step with what it reads where that is."""

        def replaced(load: TensorLoad) -> tirx.Expr:
            place = next((own for buffer, own in self.stored if buffer.same_as(load.source)), None)
            return load if place is None else tirx.BufferLoad(place, load.indices)

        def moved(expr: tirx.Expr | None) -> tirx.Expr | None:
            return None if expr is None else tvm_ffi.structural_map(expr, [(TensorLoad, replaced)])

        return replace(step, value=moved(step.value), start=moved(step.start))


def _copy(step: Step, buffer: tirx.Buffer) -> Step:
    """Return the step that copies the elements of another."""
    axes = tuple(tirx.Var(axis.name, "int32") for axis in step.axes)
    value = tirx.BufferLoad(step.buffer, list(axes))
    return Step(buffer, axes, step.extents, axes, (), (), value, None, None, {})


def buffer_like(buffer: tirx.Buffer, name: str) -> tirx.Buffer:
    return tirx.decl_buffer([int(extent) for extent in buffer.shape], str(buffer.dtype), name)
