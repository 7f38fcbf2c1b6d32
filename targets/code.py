"""What the code of tensor intrinsics is made of: whole buffers as vectors, LLVM's instructions on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

Update = Callable[[tirx.Buffer, tirx.Buffer, tirx.Buffer], tirx.Expr]
"""``(data, weight, accumulator) -> accumulator``'s next value, as vectors."""
LookUpBytes = Callable[[tirx.Expr, tirx.Buffer], tirx.Expr]
"""``(uint8 vector, uint8 table [256]) -> uint8 vector``."""
Intrinsic = Callable[[], tuple[PrimFunc, PrimFunc]]
"""Makes the meaning and the code."""


def update_code(
    lanes: int,
    data: tuple[Sequence[int], str],
    weight: tuple[Sequence[int], str],
    update: Update,
    total: str = "int32",
) -> PrimFunc:
    """Return ``accumulator = update(data, weight, accumulator)`` over whole buffers of these shapes and dtypes."""
    (data_shape, data_dtype), (weight_shape, weight_dtype) = data, weight

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer(data_shape, data_dtype, offset_factor=1),
        B: T.Buffer(weight_shape, weight_dtype, offset_factor=1),
        C: T.Buffer((lanes,), total, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], whole(A), whole(B))
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = update(A, B, C)

    return implementation


def update_of(code: PrimFunc, *operands: Callable[[tirx.Expr, int], tirx.Expr]) -> tirx.Expr:
    """Return the accumulator's next value of what ``update_code`` has made, with the operands read from elsewhere.

    Parameters
    ----------
    operands : of data, weight and accumulator, each ``(first, count) -> vector`` of elements, counted as if the operand
        lay in one row.
    """

    def moved(load: TensorLoad) -> tirx.Expr:
        place = next(at for at, buffer in enumerate(code.params) if load.source.same_as(buffer))
        *front, last = load.indices
        first: tirx.Expr | int = 0
        for index, extent in zip((*front, last.base), load.source.shape, strict=True):
            first = first * extent + index
        return operands[place](first, int(last.lanes))

    return tvm_ffi.structural_map(code.body.block.body.value, (TensorLoad, moved))


def whole(buffer: tirx.Buffer) -> tirx.BufferRegion:
    """Return all of a buffer, as what a block reads."""
    return buffer[tuple(slice(0, int(extent)) for extent in buffer.shape)]


def call(name: str, dtype: str, *arguments: tirx.Expr) -> tirx.Expr:
    """Return a call of an LLVM intrinsic without side effects; ``dtype`` is the result's."""
    return tirx.call_llvm_pure_intrin(dtype, name, *arguments)


def everywhere(group: tirx.Expr, lanes: int, dtype: str) -> tirx.Expr:
    """Return four bytes of activations in each of so many lanes, as a vector of ``dtype``."""
    return T.reinterpret(T.broadcast(T.reinterpret(group, dtype="int32"), lanes), dtype=dtype)


def vector(buffer: tirx.Buffer, count: int, *front: int) -> tirx.Expr:
    """Return ``count`` elements from the start of what ``front`` selects."""
    index = [*front, *[0] * (len(buffer.shape) - len(front))]
    return buffer.vload(index, f"{buffer.dtype}x{count}")


def unpacked(weight: tirx.Buffer, word: int, plane: int, bits: int, count: int) -> tirx.Expr:
    """Return a plane of packed weights as a vector of int8."""
    codes = vector(weight, count, *([word] if len(weight.shape) > 2 else []))
    if plane:
        codes = codes >> T.broadcast(tirx.const(plane * bits, "uint8"), count)
    codes = T.bitwise_and(codes, T.broadcast(tirx.const(2**bits - 1, "uint8"), count))
    return T.reinterpret(codes, dtype=f"int8x{count}") - T.broadcast(
        tirx.const(2 ** (bits - 1), "int8"), count
    )
