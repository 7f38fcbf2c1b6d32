"""Kernels of statements that a block of threads works on together: recurrences, long running sums, orders of long rows.

    for step:                                       for step:
        by threads j: h[j] = f(sums[j])                 if thread < J: h[thread] = f(sums[thread])
        by threads j: sums[j] = g(all of h)   -->       barrier
                                                        if thread < J: sums[thread] = g(all of h)
                                                        barrier

Each step of the outer loop is a block, what it has for itself is shared memory, and loops that are marked are shared
out: thread t has the steps t, t + threads, ... A barrier stands between two statements where the latter touches what
another thread may have written or read in the former.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.script.ir_builder import tirx as T
from tvm.sym import Analyzer

from ...passes.realize.compute.annotations import BY_THREADS
from ...targets.cuda.calls import device_call
from ..blocks import item_bytes
from .definition import Opaque
from .moving import moved
from .vectors import under

WARP = 32
MOST_THREADS = 1024

SHARED_BYTES = 48 * 1024
"""Of shared memory that any block may have; what needs more lies in global memory."""


@dataclass(frozen=True)
class _Access:
    """A read or write of a place, by the variable of the shared-out loop around it, which begins at ``first``.

    ``var`` is None of what no such loop is around.
    """

    buffer: tirx.Buffer
    index: tuple[tirx.Expr, ...]
    is_write: bool
    var: tirx.Var | None
    first: tirx.Expr | None


def is_shared_out(step: Opaque) -> bool:
    """Tell whether a step has loops for the threads of a block."""
    return bool(_shared_loops(step.body))


def _shared_loops(stmt: tirx.Stmt) -> list[tirx.For]:
    found: list[tirx.For] = []
    tvm_ffi.structural_walk(
        stmt, [(tirx.For, lambda loop: found.append(loop) if BY_THREADS in loop.annotations else None)]
    )
    return found


def emit(step: Opaque, stored: Mapping[tirx.Buffer, tirx.Buffer]) -> None:
    """Emit the launch of the kernel.

    Parameters
    ----------
    stored : buffers that are no parameters, and where they are.
    """
    (axis,), (blocks,) = step.axes, step.extents
    longest = max((_most(loop.extent) for loop in _shared_loops(step.body)), default=1)
    threads = min(MOST_THREADS, -(-longest // WARP) * WARP)
    is_small = sum(item_bytes(buffer) * _size(buffer) for buffer in step.own) <= SHARED_BYTES
    own: dict[tirx.Buffer, tirx.Buffer] = {}
    if not is_small:
        for buffer in step.own:
            shape = [blocks, *(int(extent) for extent in buffer.shape)]
            own[buffer] = T.alloc_buffer(shape, str(buffer.dtype), scope="global")
    with T.launch_thread("blockIdx.x", blocks) as block, T.launch_thread("threadIdx.x", threads) as thread:
        if is_small:
            for buffer in step.own:
                shape = [int(extent) for extent in buffer.shape]
                own[buffer] = T.alloc_buffer(shape, str(buffer.dtype), scope="shared")
        body = step.body if is_small else _of_block(step.body, own, block)
        places = {axis: block}
        _Team(step, {**stored, **own}, places, thread, threads).emit(body)


def _size(buffer: tirx.Buffer) -> int:
    return math.prod(int(extent) for extent in buffer.shape)


def _most(extent: tirx.Expr) -> int:
    return int(extent) if isinstance(extent, tirx.IntImm) else MOST_THREADS


def _of_block(stmt: tirx.Stmt, own: Mapping[tirx.Buffer, tirx.Buffer], block: tirx.Var) -> tirx.Stmt:
    """Return the statement with a block's part of what all blocks have in global memory."""

    def load(old: TensorLoad) -> tirx.Expr:
        place = own.get(old.source)
        return old if place is None else tirx.BufferLoad(place, [block, *old.indices])

    def store(old: tirx.BufferStore) -> tirx.Stmt:
        place = own.get(old.buffer)
        return old if place is None else tirx.BufferStore(place, old.value, [block, *old.indices])

    return tvm_ffi.structural_map(stmt, [(TensorLoad, load), (tirx.BufferStore, store)])


class _Team:
    """Emits statements for the threads of a block."""

    def __init__(
        self,
        step: Opaque,
        buffers: Mapping[tirx.Buffer, tirx.Buffer],
        places: Mapping[tirx.Var, tirx.Expr],
        thread: tirx.Var,
        threads: int,
    ) -> None:
        self.buffers, self.places, self.thread, self.threads = buffers, places, thread, threads
        self.pending: list[_Access] = []  # since the last barrier
        self.written = [*step.own, *step.writes, *buffers.values()]
        self.analyzer = Analyzer()

    def emit(self, stmt: tirx.Stmt) -> None:
        if isinstance(stmt, tirx.SeqStmt):
            for part in stmt.seq:
                self.emit(part)
        elif isinstance(stmt, tirx.For) and BY_THREADS in stmt.annotations:
            self.shared_out(stmt)
        elif isinstance(stmt, tirx.For):
            self.loop(stmt)
        elif isinstance(stmt, tirx.IfThenElse):
            self.choice(stmt)
        else:  # by one thread
            self.meet(self.accesses(stmt))
            under([self.thread == 0], lambda: T.add_to_parent(self.moved(stmt)))

    def moved(self, part: tirx.Stmt | tirx.Expr) -> tirx.Stmt | tirx.Expr:
        return moved(part, self.buffers, self.places)

    def shared_out(self, loop: tirx.For) -> None:
        self.meet([*self.reads(loop.min, loop.extent), *self.accesses(loop.body, loop)])
        first, extent = self.moved(loop.min), self.moved(loop.extent)
        is_fixed = isinstance(extent, tirx.IntImm)
        turns = (
            -(-int(extent) // self.threads)
            if is_fixed
            else tirx.floordiv(extent + (self.threads - 1), self.threads)
        )

        def steps(at: tirx.Expr) -> None:
            is_whole = is_fixed and int(extent) % self.threads == 0
            body = moved(loop.body, self.buffers, {**self.places, loop.loop_var: first + at})
            under([] if is_whole else [at < extent], lambda: T.add_to_parent(body))

        if is_fixed and turns == 1:
            steps(self.thread)
            return
        with T.serial(turns) as turn:
            steps(turn * self.threads + self.thread)

    def loop(self, loop: tirx.For) -> None:
        """Emit a loop that all threads go through together."""
        inside = self.accesses(loop.body)
        self.meet([*self.reads(loop.min, loop.extent), *inside])
        before, self.pending = self.pending, inside  # of the step before
        with T.serial(self.moved(loop.min), self.moved(loop.min + loop.extent)) as var:
            self.places = {**self.places, loop.loop_var: var}
            self.emit(loop.body)
        self.pending = _joined(before, self.pending, inside)

    def choice(self, stmt: tirx.IfThenElse) -> None:
        """Emit a choice that all threads make alike."""
        self.meet(self.reads(stmt.condition))
        before, after = list(self.pending), []
        with T.If(self.moved(stmt.condition)):
            with T.Then():
                self.emit(stmt.then_case)
            after += self.pending
            if stmt.else_case is not None:
                with T.Else():
                    self.pending = list(before)
                    self.emit(stmt.else_case)
                after += self.pending
        self.pending = _joined(before, after)

    def meet(self, coming: Sequence[_Access]) -> None:
        """Emit a barrier where the threads must wait for one another before these accesses; they count as made."""
        if any(self._meet(old, new) for old in self.pending for new in coming):
            device_call("barrier")
            self.pending = []
        self.pending = _joined(self.pending, coming)

    def _meet(self, old: _Access, new: _Access) -> bool:
        """Tell whether two accesses may be of one place by two threads, one of them a write."""
        if not (old.is_write or new.is_write) or not old.buffer.same_as(new.buffer):
            return False
        if old.var is None or new.var is None:
            return not (old.is_write and new.is_write and old.var is new.var)
        if not tvm_ffi.structural_equal(old.first, new.first):
            return True
        return not any(map(lambda one, other: self._same(one, old, other, new), old.index, new.index))

    def _same(self, one: tirx.Expr, old: _Access, other: tirx.Expr, new: _Access) -> bool:
        """Tell whether two indices are the shared-out variables and the same constant."""
        offsets = [self.analyzer.simplify(index - access.var) for index, access in ((one, old), (other, new))]
        return all(isinstance(each, tirx.IntImm) for each in offsets) and int(offsets[0]) == int(offsets[1])

    def accesses(self, stmt: tirx.Stmt, around: tirx.For | None = None) -> list[_Access]:
        """Return what a statement reads and writes of what changes."""
        found: list[_Access] = []
        var, first = (None, None) if around is None else (around.loop_var, around.min)

        def loop(inner: tirx.For):
            if BY_THREADS not in inner.annotations or around is not None:
                return None
            found.extend(self.reads(inner.min, inner.extent))
            found.extend(self.accesses(inner.body, inner))
            return tvm_ffi.WalkResult.SKIP

        def load(each: TensorLoad) -> None:
            if self._changes(each.source):
                found.append(_Access(each.source, tuple(each.indices), False, var, first))

        def store(each: tirx.BufferStore) -> None:
            found.append(_Access(each.buffer, tuple(each.indices), True, var, first))

        rules = [(tirx.For, loop), (TensorLoad, load), (tirx.BufferStore, store)]
        tvm_ffi.structural_walk(stmt, rules, order="pre")
        return found

    def reads(self, *parts: tirx.Expr) -> list[_Access]:
        """Return what all threads read of what changes."""
        found: list[_Access] = []

        def load(each: TensorLoad) -> None:
            if self._changes(each.source):
                found.append(_Access(each.source, tuple(each.indices), False, None, None))

        for part in parts:
            tvm_ffi.structural_walk(part, [(TensorLoad, load)])
        return found

    def _changes(self, buffer: tirx.Buffer) -> bool:
        return any(buffer.same_as(each) for each in self.written)


def _joined(*parts: Sequence[_Access]) -> list[_Access]:
    """Return all accesses, each once."""
    found: list[_Access] = []
    for access in (access for part in parts for access in part):
        if not any(access is known for known in found):
            found.append(access)
    return found
