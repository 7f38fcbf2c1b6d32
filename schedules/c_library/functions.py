"""Kernels as C functions of one thread, which allocate nothing.

    kernel(x: Buffer, y: Buffer) { rows = alloc(10 kB); parallel for ... }
    -->
    void kernel(const float *x, float *y, void *rows) { for ... }

Where the runtime would be asked for memory, the caller gives a pointer behind the buffers; their sizes are in the
function's attribute ``SCRATCH``. All pointers are multiples of ``ALIGNMENT``, and LLVM is told so: where it does not
know, code for 32-bit ARM takes vectors of bytes apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import PointerType, PrimType

from ...passes.hub.graph import dtype_of
from ..cpu.tiles import STACK_BYTES
from ..lowering import ALIGNMENT, lower_by

SCRATCH = "tvmq.scratch"
"""Attribute of a lowered kernel: bytes of each piece of memory that it takes behind its buffers."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.MakeSerial")
def make_serial(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Let parallel loops run one after the other."""
    return _mapped(mod, lambda func: tvm_ffi.structural_map(func, [(tirx.For, _serial)]))


@tvm.transform.module_pass(opt_level=0, name="tvmq.TakePointers")
def take_pointers(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Let kernels take pointers for their buffers, and for what is too large for the stack."""
    return _mapped(mod, _of_pointers)


lower_to_c = tvm.transform.Sequential([make_serial, lower_by(take_pointers)])
"""To functions that C calls."""


def _mapped(mod: tvm.IRModule, change: Callable[[tirx.PrimFunc], tirx.PrimFunc]) -> tvm.IRModule:
    mod = mod.clone()
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            mod.update_func(var, change(func))
    return mod


def _serial(loop: tirx.For) -> tirx.For:
    if loop.kind != tirx.ForKind.PARALLEL:
        return loop
    kind = tirx.ForKind.SERIAL
    return tirx.For(loop.loop_var, loop.min, loop.extent, kind, loop.body, annotations=loop.annotations)


def _of_pointers(func: tirx.PrimFunc) -> tirx.PrimFunc:
    scratch: dict[tirx.Buffer, tirx.Var] = {}

    def lifted(statement: tirx.AllocBuffer) -> tirx.Stmt:
        buffer = statement.buffer
        if _bytes(buffer) < STACK_BYTES and buffer.scope() == "global":
            return statement
        if buffer not in scratch:
            scratch[buffer] = _pointer(buffer)
        return tirx.DeclBuffer(buffer, data=scratch[buffer])

    body = tvm_ffi.structural_map(func.body, [(tirx.AllocBuffer, lifted)])
    given = {buffer: _pointer(buffer) for buffer in func.params}
    body = tirx.SeqStmt([*(tirx.DeclBuffer(buffer, data=pointer) for buffer, pointer in given.items()), body])
    pointers = [*given.values(), *scratch.values()]
    for pointer in pointers:
        body = tirx.AttrStmt(pointer, "storage_alignment", tirx.IntImm("int32", ALIGNMENT), body)
    return tirx.PrimFunc(pointers, body, func.ret_type, func.attrs).with_attr(
        SCRATCH, [_bytes(buffer) for buffer in scratch]
    )


def _pointer(buffer: tirx.Buffer) -> tirx.Var:
    return tirx.Var(buffer.name, PointerType(PrimType(dtype_of(buffer))))


def _bytes(buffer: tirx.Buffer) -> int:
    """Return the size of a buffer of constant shape."""
    return math.prod([tvm.DataType(dtype_of(buffer)).itemsize, *map(int, buffer.ty.shape)])
