"""Tensor intrinsics of one-bit products, and bits of thresholds: code that calls LLVM functions.

    sums[lane] += the entry of the code for the lane's weights       (``bit_products``)

``vpshufb`` and ``tbl`` look up 16 bytes at a time, which is a code's part of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from . import bit_products

TAILS = range(4)
THRESHOLD_LANES = (64, 32, 16, 8)
_LOOK_UPS = {
    "avx512": (64, "llvm.x86.avx512.pshuf.b.512"),
    "avx2": (32, "llvm.x86.avx2.pshuf.b"),
    "neon": (16, "llvm.aarch64.neon.tbl1.v16i8"),
}
"""Bytes that are looked up at a time, and LLVM's intrinsic for it."""


def look_up(lanes: int, function: str, tail: int) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of adding up products of four bits."""

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((1,), "uint16", offset_factor=1),
        B: T.Buffer((lanes, 1), "uint8", offset_factor=1),
        C: T.Buffer((lanes, 1), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes, 0:1], A[0:1], B[0:lanes, 0:1])
            T.writes(C[0:lanes, 0:1])
            for i in T.serial(0, lanes):
                with T.sblock("update"):
                    vi = T.axis.spatial(lanes, i)
                    C[vi, 0] = C[vi, 0] + bit_products.product(A[0], B[vi, 0], tail)

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((1,), "uint16", offset_factor=1),
        B: T.Buffer((lanes, 1), "uint8", offset_factor=1),
        C: T.Buffer((lanes, 1), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes, 0:1], A[0:1], B[0:lanes, 0:1])
            T.writes(C[0:lanes, 0:1])
            C[0, T.ramp(0, 1, lanes)] = C.vload([0, 0], f"int8x{lanes}") + T.call_pure_extern(
                *(f"int8x{lanes}", function, T.cast(A[0], "int32")),
                T.reinterpret(B.vload([0, 0], f"uint8x{lanes}"), dtype=f"int8x{lanes}"),
            )

    return meaning, code


def reached(values: tirx.Expr, thresholds: tirx.Expr) -> tirx.Expr:
    """Return as bytes, one bit a lane, which values, int32 or float32, are at least their thresholds.

    There are as many lanes as one of ``THRESHOLD_LANES``.
    """
    lanes, dtype = values.ty.dtype.lanes, str(values.ty.dtype).split("x")[0]
    result = "uint8" if lanes == 8 else f"uint8x{lanes // 8}"
    return T.call_pure_extern(result, _threshold(dtype, lanes), values, thresholds)


def _look_up_code(isa: str, tail: int) -> str:
    """Return LLVM's assembly of a function that looks up ``lanes`` sums."""
    lanes, name = _LOOK_UPS[isa]
    entries = bit_products.table(tail)
    values = ", ".join(f"i8 {entry}" for entry in entries)
    repeated = ", ".join(f"i32 {lane % 16}" for lane in range(lanes))
    vector = f"<{lanes} x i8>"
    return f"""
declare {vector} @{name}({vector}, {vector})
@{_table(isa, tail)} = internal constant [{len(entries)} x i8] [{values}], align 64
define {vector} @{_look_up(isa, tail)}(i32 %code, {vector} %weights) alwaysinline {{
  %place = zext i32 %code to i64
  %address = getelementptr i8, ptr @{_table(isa, tail)}, i64 %place
  %part = load <16 x i8>, ptr %address, align 16
  %entries = shufflevector <16 x i8> %part, <16 x i8> poison, <{lanes} x i32> <{repeated}>
  %sums = call {vector} @{name}({vector} %entries, {vector} %weights)
  ret {vector} %sums
}}
"""


def _threshold_code(dtype: str, lanes: int) -> str:
    element, compare = {"int32": ("i32", "icmp sge"), "float32": ("float", "fcmp oge")}[dtype]
    vector = f"<{lanes} x {element}>"
    result = "i8" if lanes == 8 else f"<{lanes // 8} x i8>"
    return f"""
define {result} @{_threshold(dtype, lanes)}({vector} %values, {vector} %thresholds) alwaysinline {{
  %reached = {compare} {vector} %values, %thresholds
  %bits = bitcast <{lanes} x i1> %reached to {result}
  ret {result} %bits
}}
"""


def _table(isa: str, tail: int) -> str:
    return f"tvmq_bit_table_{isa}_{tail}"


def _look_up(isa: str, tail: int) -> str:
    return f"tvmq_look_up_bits_{isa}_{tail}"


def _threshold(dtype: str, lanes: int) -> str:
    return f"tvmq_reached_{dtype}_{lanes}"


LLVM_CODE: dict[str, str] = {
    **{_look_up(isa, tail): _look_up_code(isa, tail) for isa in _LOOK_UPS for tail in TAILS},
    **{
        _threshold(dtype, lanes): _threshold_code(dtype, lanes)
        for dtype in ("int32", "float32")
        for lanes in THRESHOLD_LANES
    },
}
"""Functions that code calls, by name."""

INTRINSICS: dict[str, Callable[[], tuple[PrimFunc, PrimFunc]]] = {
    f"bits_{isa}_{tail}": partial(look_up, lanes, _look_up(isa, tail), tail)
    for isa, (lanes, _) in _LOOK_UPS.items()
    for tail in TAILS
}
