"""A function's definition --> its launches: one kernel for each result that cannot be computed within another's.

packed, sums, result  -->  packed by threads;  sums and result by a product
most, total, result   -->  all by rows
bits, bytes           -->  both by threads, or by what has their sums
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

from ...passes.realize.compute.annotations import BITS, KERNEL
from ...targets.row import Gpu, TargetRow
from ..space import Choice, Decide, analytic
from . import bits, few_rows, product_kernel, rows, scaled_rows, statements, threads
from .definition import Definition, Opaque, Step, read, step_of
from .lowering import OWN_BARRIERS
from .product import Product, product_of, split_sums


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
        self.definition, self.gpu, self._decide = definition, gpu, decide
        self.launches = 0
        self.reached: Step | None = None
        """Bits of which the step behind them makes bytes."""
        self.stored: list[tuple[tirx.Buffer, tirx.Buffer]] = []

    def decide(self, name: str, candidates: Sequence[Choice]) -> Choice:
        """Make a choice of the launch that is being emitted; its number is part of the name."""
        return self._decide(f"{self.launches}.{name}", candidates)

    def emit(self) -> None:
        waiting: list[Step] = []
        steps = list(self.definition.steps)
        while steps:
            step = steps.pop(0)
            if isinstance(step, Opaque):
                for reduction in waiting:
                    self._alone(reduction)
                waiting = []
                self._statements(step)
                continue
            if BITS in step.marks:
                self.reached = step
                continue
            if step.is_reduction and not self.definition.is_param(step.buffer):
                waiting.append(step)
                continue
            if step.is_reduction:  # a result by itself
                total = replace(step, buffer=buffer_like(step.buffer, "total"))
                waiting.append(total)
                step = _copy(total, step.buffer)
            taken = self._results(waiting, [step, *steps])
            if taken:
                del steps[: taken - 1]
            else:
                self._launch(waiting, step)
            waiting = []

    def _results(self, reductions: Sequence[Step], steps: Sequence[Step | Opaque]) -> int:
        """Emit one kernel of rows for several results, and return how many; 0 where they are not of the same rows."""
        found: list[Step] = []
        for step in steps:
            if isinstance(step, Opaque) or step.is_reduction or not self.definition.is_param(step.buffer):
                break
            found.append(self._stored(step))
        if len(found) < 2 or not all(step.size for step in found):
            return 0
        reductions = [self._unpacked(self._stored(step)) for step in reductions]
        by_rows = rows.rows_of(reductions, found[-1], found[:-1])
        if by_rows is None:
            return 0
        rows.emit(by_rows, self.decide)
        self.launches += 1
        return len(found)

    def _launch(self, reductions: Sequence[Step], result: Step) -> None:
        """Emit the kernels of a result and the reductions on the way to it."""
        result = self._stored(result)
        reductions = [self._stored(step) for step in reductions]
        if not self.definition.is_param(result.buffer):
            result = replace(result, buffer=self._store(result.buffer))
        if not result.size:
            return
        if not self._together(reductions, result):
            for reduction in reductions:
                self._alone(reduction)
            self._together([], self._stored(result))

    def _alone(self, reduction: Step) -> None:
        """Emit the kernel of a reduction, whose result goes to memory."""
        reduction = self._stored(reduction)
        copy = _copy(reduction, self._store(reduction.buffer))
        if not self._together([reduction], copy):
            raise ValueError(f"no kernel computes {reduction.buffer.name} by itself")

    def _together(self, reductions: Sequence[Step], result: Step) -> bool:
        """Emit one kernel for all; False where none can."""
        if not self._emit_one(reductions, result):
            return False
        self.launches += 1
        return True

    def _emit_one(self, reductions: Sequence[Step], result: Step) -> bool:
        reached = self._reached_by(result)
        if len(reductions) == 1 and reductions[0].marks.get(KERNEL) == "contraction":
            found = product_of(reductions[0], reached or result, self.definition.inside)
            if found is not None and (reached is None or found.has_columns_along(reached.axes[-1])):
                self._product(found if reached is None else replace(found, bits=result))
                return True
            if reached is not None:  # bytes of several groups: their counts are products by themselves
                return False
        reductions = [self._unpacked(step) for step in reductions]
        by_rows = None if reached is not None else rows.rows_of(reductions, result)
        if by_rows is not None:
            rows.emit(by_rows, self.decide)
            return True
        if len(reductions) > 1 or not threads.fits(reached or result, reductions[0] if reductions else None):
            return False
        if reached is not None:
            bits.emit(reached, result, reductions[0] if reductions else None, self.gpu)
            return True
        threads.emit(result, reductions[0] if reductions else None, self.gpu, self.decide)
        return True

    def _reached_by(self, result: Step) -> Step | None:
        """Return the bits of which a result makes bytes."""
        is_read = self.reached is not None and bits.makes_bytes(result, self.reached)
        return self._stored(self.reached) if is_read else None

    def _product(self, found: Product) -> None:
        """Emit the kernel of a product, or of parts of its sums and then of their sum."""
        if scaled_rows.fits(found):
            scaled_rows.emit(found, self.gpu)
            return
        if few_rows.fits(found):
            few_rows.emit(found, self.gpu)
            return
        tile = product_kernel.tile_of(found, self.gpu, self.decide)
        if tile.splits == 1:
            product_kernel.emit(found, tile)
            return
        sums = found.sums
        shape = [tile.splits, *sums.extents]
        stored = T.alloc_buffer(shape, str(sums.buffer.dtype), scope="global")
        partial, whole = split_sums(sums, tile.splits, stored)
        partial = replace(partial, buffer=tirx.decl_buffer(shape, str(stored.dtype), "partial"))
        part = product_of(partial, _copy(partial, stored), self.definition.inside)
        product_kernel.emit(part, tile)
        self._together([whole], found.bits or found.result)

    def _unpacked(self, step: Step) -> Step:
        """Return the step with the unpacking of the weights that it reads inside."""

        def replaced(load: TensorLoad) -> tirx.Expr:
            inside = step_of(load.source, self.definition.inside)
            return load if inside is None else inside.at(load.indices)

        return replace(step, value=tvm_ffi.structural_map(step.value, [(TensorLoad, replaced)]))

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
            statements.emit(step, dict(self.stored))
            self.launches += 1

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
