"""Tensor intrinsics of the target rows: each an exact dot product, its meaning and its code together.

    accumulator[lane] += sum over depth of data[depth] * weight[lane, depth]

The group of ``depth`` activations is broadcast to every lane. The instruction sequences:

=======================  ========================  ================================================================
name                     LLVM intrinsic            arithmetic
=======================  ========================  ================================================================
dot_16x4_u8s8_avx512vnni avx512.vpdpbusd.512       products and sums in int32
dot_8x4_u8s8_avxvnni     avx512.vpdpbusd.256       the same (the name covers both encodings)
dot_16x4_u8s8_avx512     avx512.pmaddubs.w.512     pairs of products in int16, which saturates, so only for weights
                         avx512.pmaddw.d.512       whose pairs keep within a limit; then pairs of those in int32
dot_8x4_u8s8_avx2        avx2.pmadd.ub.sw, .wd     the same
dot_*_2, dot_*_4         as above                  the int16 sums of 2 or 4 groups are added before they are widened
dot_16x2_s16s8_avx512    avx512.pmaddw.d.512       weights widened to int16, pairs of products in int32
dot_8x2_s16s8_avx2       avx2.pmadd.wd             the same
dot_*_s16s16_*           as above                  for weights that have been widened before
=======================  ========================  ================================================================

Those in which each lane has activations of its own are in ``lane_intrinsics``.

They are built on first use: parsing one costs tens of milliseconds, and most programs need one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from functools import cache

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from . import lane_intrinsics
from .rows import TargetRow


def description(
    lanes: int, depth: int, data_dtype: str, weight_dtype: str = "int8", steps: int = 1
) -> PrimFunc:
    """Return what a dot product of this shape means, as the block that a schedule looks for."""
    if steps > 1:
        return _description_of_steps(lanes, depth, data_dtype, weight_dtype, steps)

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((depth,), data_dtype, offset_factor=1),
        B: T.Buffer((lanes, depth), weight_dtype, offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, depth):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        C[vi] = C[vi] + T.cast(A[vk], "int32") * T.cast(B[vi, vk], "int32")

    return meaning


def _description_of_steps(lanes: int, depth: int, data_dtype: str, weight_dtype: str, steps: int) -> PrimFunc:
    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((steps * depth,), data_dtype, offset_factor=1),
        B: T.Buffer((steps, lanes, depth), weight_dtype, offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : steps * depth], B[0:steps, 0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for s in T.serial(0, steps):
                for i in T.serial(0, lanes):
                    for k in T.serial(0, depth):
                        with T.sblock("update"):
                            vi, vs, vk = T.axis.remap("SRR", [i, s, k])
                            C[vi] = C[vi] + T.cast(A[vs * depth + vk], "int32") * T.cast(
                                B[vs, vi, vk], "int32"
                            )

    return meaning


def _vnni(lanes: int, llvm_name: str) -> PrimFunc:
    bytes_ = lanes * 4

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(llvm_name),
                C.vload([0], f"int32x{lanes}"),
                T.reinterpret(
                    T.broadcast(T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"), lanes),
                    dtype=f"int8x{bytes_}",
                ),
                B.vload([0, 0], f"int8x{bytes_}"),
                dtype=f"int32x{lanes}",
            )

    return implementation


def _madd(lanes: int, llvm_name: str, weight_dtype: str = "int8") -> PrimFunc:
    words = lanes * 2

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((2,), "int16", offset_factor=1),
        B: T.Buffer((lanes, 2), weight_dtype, offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:2], B[0:lanes, 0:2])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = C.vload([0], f"int32x{lanes}") + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(llvm_name),
                T.reinterpret(
                    T.broadcast(T.reinterpret(A.vload([0], "int16x2"), dtype="int32"), lanes),
                    dtype=f"int16x{words}",
                ),
                T.cast(B.vload([0, 0], f"{weight_dtype}x{words}"), f"int16x{words}"),
                dtype=f"int32x{lanes}",
            )

    return implementation


def _paired(lanes: int, pair_name: str, sum_name: str, steps: int = 1) -> PrimFunc:
    """Return the code of one group, or of several whose int16 sums are added before they are widened."""
    bytes_, words = lanes * 4, lanes * 2
    if steps > 1:
        return _paired_steps(lanes, pair_name, sum_name, steps)

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = C.vload([0], f"int32x{lanes}") + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(sum_name),
                T.call_llvm_pure_intrin(
                    T.llvm_lookup_intrinsic_id(pair_name),
                    T.reinterpret(
                        T.broadcast(T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"), lanes),
                        dtype=f"int8x{bytes_}",
                    ),
                    B.vload([0, 0], f"int8x{bytes_}"),
                    dtype=f"int16x{words}",
                ),
                T.broadcast(T.int16(1), words),
                dtype=f"int32x{lanes}",
            )

    return implementation


def _paired_steps(lanes: int, pair_name: str, sum_name: str, steps: int) -> PrimFunc:
    bytes_, words = lanes * 4, lanes * 2

    def products(data: tirx.Buffer, weight: tirx.Buffer, step: int) -> tirx.Expr:
        return tirx.call_llvm_pure_intrin(
            f"int16x{words}",
            pair_name,
            T.reinterpret(
                T.broadcast(T.reinterpret(data.vload([4 * step], "uint8x4"), dtype="int32"), lanes),
                dtype=f"int8x{bytes_}",
            ),
            weight.vload([step, 0, 0], f"int8x{bytes_}"),
        )

    def total(data: tirx.Buffer, weight: tirx.Buffer) -> tirx.Expr:
        return functools.reduce(operator.add, [products(data, weight, step) for step in range(steps)])

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4 * steps,), "uint8", offset_factor=1),
        B: T.Buffer((steps, lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : 4 * steps], B[0:steps, 0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = C.vload([0], f"int32x{lanes}") + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(sum_name),
                total(A, B),
                T.broadcast(T.int16(1), words),
                dtype=f"int32x{lanes}",
            )

    return implementation


_AVX512_PAIRS = ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512")
_AVX2_PAIRS = ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd")

_TABLE: dict[str, tuple[int, int, str, Callable[..., PrimFunc], tuple]] = {
    # name: lanes, depth, data dtype, implementation, its arguments
    "dot_16x4_u8s8_avx512vnni": (16, 4, "uint8", _vnni, ("llvm.x86.avx512.vpdpbusd.512",)),
    "dot_8x4_u8s8_avxvnni": (8, 4, "uint8", _vnni, ("llvm.x86.avx512.vpdpbusd.256",)),
    "dot_16x4_u8s8_avx512": (16, 4, "uint8", _paired, _AVX512_PAIRS),
    "dot_16x4_u8s8_avx512_2": (16, 4, "uint8", _paired, (*_AVX512_PAIRS, 2)),
    "dot_16x4_u8s8_avx512_4": (16, 4, "uint8", _paired, (*_AVX512_PAIRS, 4)),
    "dot_8x4_u8s8_avx2": (8, 4, "uint8", _paired, _AVX2_PAIRS),
    "dot_8x4_u8s8_avx2_2": (8, 4, "uint8", _paired, (*_AVX2_PAIRS, 2)),
    "dot_8x4_u8s8_avx2_4": (8, 4, "uint8", _paired, (*_AVX2_PAIRS, 4)),
    "dot_16x2_s16s8_avx512": (16, 2, "int16", _madd, ("llvm.x86.avx512.pmaddw.d.512",)),
    "dot_8x2_s16s8_avx2": (8, 2, "int16", _madd, ("llvm.x86.avx2.pmadd.wd",)),
    "dot_16x2_s16s16_avx512": (16, 2, "int16", _madd, ("llvm.x86.avx512.pmaddw.d.512", "int16")),
    "dot_8x2_s16s16_avx2": (8, 2, "int16", _madd, ("llvm.x86.avx2.pmadd.wd", "int16")),
}


def _functions_of(name: str) -> tuple[PrimFunc, PrimFunc]:
    if name in lane_intrinsics.NAMES:
        return lane_intrinsics.functions_of(name)
    lanes, depth, data_dtype, implement, arguments = _TABLE[name]
    steps = next((item for item in arguments if isinstance(item, int)), 1)
    meaning = description(lanes, depth, data_dtype, "int16" if "int16" in arguments else "int8", steps)
    return meaning, implement(lanes, *arguments)


@cache
def register(name: str) -> str:
    """Make the intrinsic known to TVM, once, and return its name there.

    Raises
    ------
    KeyError : there is no such intrinsic.
    """
    tvm_name = f"tvmq.{name}"
    TensorIntrin.register(tvm_name, *_functions_of(name), override=True)
    return tvm_name


def register_all(row: TargetRow) -> None:
    """Make every intrinsic of a row known to TVM: schedules that were made elsewhere name them."""
    names = [name for dot in row.dots for name in (dot.intrinsic, dot.widened)]
    if row.lane_dot is not None:
        names += [row.lane_dot.intrinsic, row.lane_dot.interleave]
    for name in names:
        if name is not None:
            register(name)
