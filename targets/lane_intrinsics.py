"""Tensor intrinsics of depthwise convolution: dot products within lanes, and the data laid out for them.

    interleave:   groups[lane, row] = rows[row, lane]
    lane dot:     accumulator[lane] += sum over rows of groups[lane, row] * weight[lane, row]

A register then holds, for each of its lanes (channels), the activations of ``depth`` rows of the image, and one
instruction adds as many products to each. Instructions and exactness are those of ``targets.intrinsics``, where the
activations are broadcast instead.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc


def _lane_dot_description(lanes: int, depth: int, data_dtype: str) -> PrimFunc:
    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((lanes, depth), data_dtype, offset_factor=1),
        B: T.Buffer((lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes, 0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, depth):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        C[vi] = C[vi] + T.cast(A[vi, vk], "int32") * T.cast(B[vi, vk], "int32")

    return meaning


def _lane_vnni(lanes: int, depth: int, llvm_name: str) -> PrimFunc:
    bytes_ = lanes * depth

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((lanes, depth), "uint8", offset_factor=1),
        B: T.Buffer((lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes, 0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(llvm_name),
                C.vload([0], f"int32x{lanes}"),
                T.reinterpret(A.vload([0, 0], f"uint8x{bytes_}"), dtype=f"int8x{bytes_}"),
                B.vload([0, 0], f"int8x{bytes_}"),
                dtype=f"int32x{lanes}",
            )

    return implementation


def _lane_madd(lanes: int, depth: int, llvm_name: str) -> PrimFunc:
    words = lanes * depth

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((lanes, depth), "int16", offset_factor=1),
        B: T.Buffer((lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes, 0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = C.vload([0], f"int32x{lanes}") + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(llvm_name),
                A.vload([0, 0], f"int16x{words}"),
                T.cast(B.vload([0, 0], f"int8x{words}"), f"int16x{words}"),
                dtype=f"int32x{lanes}",
            )

    return implementation


def _interleave_description(lanes: int, depth: int, data_dtype: str) -> PrimFunc:
    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((depth, 1, lanes), "uint8", offset_factor=1, strides=["down", "across", 1]),
        B: T.Buffer((lanes, depth), data_dtype, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:depth, 0, 0:lanes])
            T.writes(B[0:lanes, 0:depth])
            for i in T.serial(0, lanes):
                for k in T.serial(0, depth):
                    with T.sblock("move"):
                        vi, vk = T.axis.remap("SS", [i, k])
                        B[vi, vk] = T.cast(A[vk, 0, vi], data_dtype)

    return meaning


def _interleave(lanes: int, depth: int, data_dtype: str) -> PrimFunc:
    places = [row * lanes + lane for lane in range(lanes) for row in range(depth)]
    count = lanes * depth

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((depth, 1, lanes), "uint8", offset_factor=1, strides=["down", "across", 1]),
        B: T.Buffer((lanes, depth), data_dtype, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:depth, 0, 0:lanes])
            T.writes(B[0:lanes, 0:depth])
            B[0, T.ramp(0, 1, count)] = T.cast(
                T.Shuffle([A.vload([row, 0, 0], f"uint8x{lanes}") for row in range(depth)], places),
                f"{data_dtype}x{count}",
            )

    return implementation


_DOTS = {
    # name: lanes, depth, data dtype, implementation, LLVM intrinsic
    "lane_dot_16x4_u8s8_avx512vnni": (16, 4, "uint8", _lane_vnni, "llvm.x86.avx512.vpdpbusd.512"),
    "lane_dot_8x4_u8s8_avxvnni": (8, 4, "uint8", _lane_vnni, "llvm.x86.avx512.vpdpbusd.256"),
    "lane_dot_16x2_s16s8_avx512": (16, 2, "int16", _lane_madd, "llvm.x86.avx512.pmaddw.d.512"),
    "lane_dot_8x2_s16s8_avx2": (8, 2, "int16", _lane_madd, "llvm.x86.avx2.pmadd.wd"),
}
_INTERLEAVES = {
    # name: lanes, depth, data dtype
    "interleave_16x4_u8": (16, 4, "uint8"),
    "interleave_8x4_u8": (8, 4, "uint8"),
    "interleave_16x2_s16": (16, 2, "int16"),
    "interleave_8x2_s16": (8, 2, "int16"),
}


NAMES = frozenset({*_DOTS, *_INTERLEAVES})


def functions_of(name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return what the intrinsic means and its code.

    Raises
    ------
    KeyError : there is no such intrinsic.
    """
    if name in _INTERLEAVES:
        shape = _INTERLEAVES[name]
        return _interleave_description(*shape), _interleave(*shape)
    lanes, depth, data_dtype, implement, llvm_name = _DOTS[name]
    return _lane_dot_description(lanes, depth, data_dtype), implement(lanes, depth, llvm_name)
