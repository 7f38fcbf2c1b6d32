"""Code of x86's tensor intrinsics: each an exact dot product, beside what it means.

=======================  ========================  ================================================================
name                     LLVM intrinsic            arithmetic
=======================  ========================  ================================================================
dot_16x4_u8s8_avx512vnni avx512.vpdpbusd.512       products and sums in int32
dot_8x4_u8s8_avxvnni     avx512.vpdpbusd.256       the same (the name covers both encodings)
dot_16x4_u8s8_avx512     avx512.pmaddubs.w.512     pairs of products in int16, which saturates, so only for weights
                         avx512.pmaddw.d.512       whose pairs keep within a limit; then pairs of those in int32
dot_8x4_u8s8_avx2        avx2.pmadd.ub.sw, .wd     the same
dot_*_2, dot_*_4         as above                  the int16 sums of 2 or 4 groups are added before they are widened
dot_*_s4_*, dot_*_s2_*   a shift, and, sub        weights of 4 or 2 bits, unpacked before one of the above
pairs_*                  avx*.pmaddubs             int16 sums of pairs of products, for weights that keep them there
widen_*                  avx*.pmaddw               pairs of such sums, added to int32
dot_16x2_s16s8_avx512    avx512.pmaddw.d.512       weights widened to int16, pairs of products in int32
dot_8x2_s16s8_avx2       avx2.pmadd.wd             the same
dot_*_s16s16_*           as above                  for weights that have been widened before
lane_dot_*               as above                  each lane has activations of its own
interleave_*             a shuffle                 rows side by side, for the lane dots
dot_16x2_bf16_avx512bf16 avx512bf16.dpbf16ps.512   pairs of products of bfloat16 and their sums in float32
=======================  ========================  ================================================================
"""

from __future__ import annotations

import functools
import operator
from functools import partial

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .. import meanings
from ..code import Intrinsic, call, everywhere, unpacked, update_code, vector


def _vnni(lanes: int, name: str, data: tirx.Expr, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
    sums = f"int32x{lanes}"
    return call(name, sums, vector(total, lanes), data, vector(weight, 4 * lanes))


def _madd(lanes: int, name: str, data: tirx.Expr, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
    words = T.cast(vector(weight, 2 * lanes), f"int16x{2 * lanes}")
    return vector(total, lanes) + call(name, f"int32x{lanes}", data, words)


def _pairs(
    steps: int,
    pair_name: str,
    sum_name: str,
    lanes: int,
    data: tirx.Buffer,
    weight: tirx.Buffer,
    total: tirx.Buffer,
) -> tirx.Expr:
    bytes_, words = 4 * lanes, f"int16x{2 * lanes}"

    def products(step: int) -> tirx.Expr:
        group = everywhere(data.vload([4 * step], "uint8x4"), lanes, f"int8x{bytes_}")
        return call(pair_name, words, group, vector(weight, bytes_, *([step] if steps > 1 else [])))

    sums = functools.reduce(operator.add, [products(step) for step in range(steps)])
    ones = T.broadcast(T.int16(1), 2 * lanes)
    return vector(total, lanes) + call(sum_name, f"int32x{lanes}", sums, ones)


def dot_vnni(lanes: int, name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``vpdpbusd``."""

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        group = everywhere(data.vload([0], "uint8x4"), lanes, f"int8x{4 * lanes}")
        return _vnni(lanes, name, group, weight, total)

    code = update_code(lanes, ((4,), "uint8"), ((lanes, 4), "int8"), update)
    return meanings.dot_product(lanes, 4, "uint8"), code


def dot_madd(lanes: int, name: str, weight_dtype: str = "int8") -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``pmaddwd``, for weights of 8 bits or such as have been widened."""

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        group = everywhere(data.vload([0], "int16x2"), lanes, f"int16x{2 * lanes}")
        return _madd(lanes, name, group, weight, total)

    code = update_code(lanes, ((2,), "int16"), ((lanes, 2), weight_dtype), update)
    return meanings.dot_product(lanes, 2, "int16", weight_dtype), code


def dot_pairs(lanes: int, pair_name: str, sum_name: str, steps: int = 1) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``pmaddubsw``, the int16 sums of ``steps`` groups added before ``pmaddwd``."""
    weight = ((steps, lanes, 4) if steps > 1 else (lanes, 4), "int8")
    code = update_code(
        lanes, ((4 * steps,), "uint8"), weight, partial(_pairs, steps, pair_name, sum_name, lanes)
    )
    return meanings.dot_product(lanes, 4, "uint8", steps=steps), code


def packed_vnni(lanes: int, name: str, bits: int) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``vpdpbusd`` with weights of few bits."""
    planes, bytes_ = 8 // bits, 4 * lanes

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        sums = vector(total, lanes)
        for plane in range(planes):
            group = everywhere(data.vload([4 * plane], "uint8x4"), lanes, f"int8x{bytes_}")
            sums = call(name, f"int32x{lanes}", sums, group, unpacked(weight, 0, plane, bits, bytes_))
        return sums

    code = update_code(lanes, ((4 * planes,), "uint8"), ((lanes, 4), "uint8"), update)
    return meanings.packed_dot(lanes, 4, "uint8", bits, 1), code


def packed_pairs(
    lanes: int, pair_name: str, sum_name: str, bits: int, words: int
) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``pmaddubsw`` with weights of few bits, the int16 sums added before ``pmaddwd``."""
    planes, bytes_ = 8 // bits, 4 * lanes

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        def products(step: int) -> tirx.Expr:
            group = everywhere(data.vload([4 * step], "uint8x4"), lanes, f"int8x{bytes_}")
            factors = unpacked(weight, step // planes, step % planes, bits, bytes_)
            return call(pair_name, f"int16x{2 * lanes}", group, factors)

        sums = functools.reduce(operator.add, [products(step) for step in range(words * planes)])
        ones = T.broadcast(T.int16(1), 2 * lanes)
        return vector(total, lanes) + call(sum_name, f"int32x{lanes}", sums, ones)

    shape = (words, lanes, 4) if words > 1 else (lanes, 4)
    code = update_code(lanes, ((4 * words * planes,), "uint8"), (shape, "uint8"), update)
    return meanings.packed_dot(lanes, 4, "uint8", bits, words), code


def pairs(lanes: int, name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``pmaddubsw``, whose results are added up in int16."""
    words, bytes_ = 2 * lanes, 4 * lanes

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes, 2), "int16", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes, 0:2], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes, 0:2])
            C[0, T.ramp(0, 1, words)] = vector(C, words) + call(
                *(name, f"int16x{words}"),
                *(everywhere(A.vload([0], "uint8x4"), lanes, f"int8x{bytes_}"), vector(B, bytes_)),
            )

    return meanings.narrow_dot(lanes, 4, "uint8", 2, "int16"), code


def widen_pairs(lanes: int, name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``pmaddwd`` with ones: pairs of int16 sums, added to int32."""
    words = 2 * lanes

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((lanes, 2), "int16", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes, 0:2])
            T.writes(C[0:lanes])
            C[T.ramp(0, 1, lanes)] = vector(C, lanes) + call(
                name, f"int32x{lanes}", vector(A, words), T.broadcast(T.int16(1), words)
            )

    return meanings.widening(lanes, 2, "int16"), code


def lane_dot_vnni(lanes: int, name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``vpdpbusd`` on activations of each lane's own."""

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        groups = T.reinterpret(vector(data, 4 * lanes), dtype=f"int8x{4 * lanes}")
        return _vnni(lanes, name, groups, weight, total)

    code = update_code(lanes, ((lanes, 4), "uint8"), ((lanes, 4), "int8"), update)
    return meanings.lane_dot(lanes, 4, "uint8"), code


def lane_dot_madd(lanes: int, name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``pmaddwd`` on activations of each lane's own."""

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        return _madd(lanes, name, vector(data, 2 * lanes), weight, total)

    code = update_code(lanes, ((lanes, 2), "int16"), ((lanes, 2), "int8"), update)
    return meanings.lane_dot(lanes, 2, "int16"), code


_DOT_BF16 = "tvmq_dot_16x2_bf16"

LLVM_CODE: dict[str, str] = {
    _DOT_BF16: """
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)
define <16 x float> @tvmq_dot_16x2_bf16(<16 x float> %total, <32 x i16> %data, <32 x i16> %weight) {
  %a = bitcast <32 x i16> %data to <32 x bfloat>
  %b = bitcast <32 x i16> %weight to <32 x bfloat>
  %sum = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> %total, <32 x bfloat> %a, <32 x bfloat> %b)
  ret <16 x float> %sum
}
"""
}
"""Functions that code calls, by name: instructions on types that TVM does not know."""


def dot_bf16(lanes: int, function: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``vdpbf16ps``, which a function of ``LLVM_CODE`` calls."""

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        pair = everywhere(data.vload([0], "uint16x2"), lanes, f"int16x{2 * lanes}")
        factors = T.reinterpret(vector(weight, 2 * lanes), dtype=f"int16x{2 * lanes}")
        return T.call_pure_extern(f"float32x{lanes}", function, vector(total, lanes), pair, factors)

    code = update_code(lanes, ((2,), "uint16"), ((lanes, 2), "uint16"), update, "float32")
    meaning = meanings.dot_product(
        *(lanes, 2, "uint16", "uint16"), widen=meanings.of_bfloat16, total_dtype="float32"
    )
    return meaning, code


def interleave(lanes: int, depth: int, data_dtype: str) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of bringing rows side by side."""
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

    return meanings.interleave(lanes, depth, data_dtype), implementation


_VNNI_512, _VNNI_256 = "llvm.x86.avx512.vpdpbusd.512", "llvm.x86.avx512.vpdpbusd.256"
_PAIRS_512 = ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512")
_PAIRS_256 = ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd")

INTRINSICS: dict[str, Intrinsic] = {
    "dot_16x2_bf16_avx512bf16": partial(dot_bf16, 16, _DOT_BF16),
    "dot_16x4_u8s8_avx512vnni": partial(dot_vnni, 16, _VNNI_512),
    "dot_8x4_u8s8_avxvnni": partial(dot_vnni, 8, _VNNI_256),
    "dot_16x4_u8s8_avx512": partial(dot_pairs, 16, *_PAIRS_512),
    "dot_16x4_u8s8_avx512_2": partial(dot_pairs, 16, *_PAIRS_512, 2),
    "dot_16x4_u8s8_avx512_4": partial(dot_pairs, 16, *_PAIRS_512, 4),
    "dot_8x4_u8s8_avx2": partial(dot_pairs, 8, *_PAIRS_256),
    "dot_8x4_u8s8_avx2_2": partial(dot_pairs, 8, *_PAIRS_256, 2),
    "dot_8x4_u8s8_avx2_4": partial(dot_pairs, 8, *_PAIRS_256, 4),
    **{
        f"dot_{lanes}x4_u8s{bits}_{isa}": partial(packed_vnni, lanes, name, bits)
        for lanes, isa, name in ((16, "avx512vnni", _VNNI_512), (8, "avxvnni", _VNNI_256))
        for bits in (4, 2)
    },
    **{
        f"dot_{lanes}x4_u8s{bits}_{isa}_{words}": partial(packed_pairs, lanes, *names, bits, words)
        for lanes, isa, names in ((16, "avx512", _PAIRS_512), (8, "avx2", _PAIRS_256))
        for bits, words in ((4, 2), (4, 1), (2, 1))
    },
    "pairs_16x4_u8s8_avx512": partial(pairs, 16, _PAIRS_512[0]),
    "pairs_8x4_u8s8_avx2": partial(pairs, 8, _PAIRS_256[0]),
    "widen_16x2_s16_avx512": partial(widen_pairs, 16, _PAIRS_512[1]),
    "widen_8x2_s16_avx2": partial(widen_pairs, 8, _PAIRS_256[1]),
    "dot_16x2_s16s8_avx512": partial(dot_madd, 16, _PAIRS_512[1]),
    "dot_8x2_s16s8_avx2": partial(dot_madd, 8, _PAIRS_256[1]),
    "dot_16x2_s16s16_avx512": partial(dot_madd, 16, _PAIRS_512[1], "int16"),
    "dot_8x2_s16s16_avx2": partial(dot_madd, 8, _PAIRS_256[1], "int16"),
    "lane_dot_16x4_u8s8_avx512vnni": partial(lane_dot_vnni, 16, _VNNI_512),
    "lane_dot_8x4_u8s8_avxvnni": partial(lane_dot_vnni, 8, _VNNI_256),
    "lane_dot_16x2_s16s8_avx512": partial(lane_dot_madd, 16, _PAIRS_512[1]),
    "lane_dot_8x2_s16s8_avx2": partial(lane_dot_madd, 8, _PAIRS_256[1]),
    "interleave_16x4_u8": partial(interleave, 16, 4, "uint8"),
    "interleave_8x4_u8": partial(interleave, 8, 4, "uint8"),
    "interleave_16x2_s16": partial(interleave, 16, 2, "int16"),
    "interleave_8x2_s16": partial(interleave, 8, 2, "int16"),
}
