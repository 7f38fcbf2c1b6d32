"""Code of ARM's tensor intrinsics: each an exact dot product of int8, beside what it means.

======================  =============  ==========================================================================
name                    instruction    arithmetic
======================  =============  ==========================================================================
dot_4x4_s8s8_sdot_4     sdot by lane   products and sums in int32; four groups of activations are one register
dot_4x4_s8s8_sdot_2     sdot by lane   the same of two
dot_4x4_s8s8_sdot       sdot           the same of one group
dot_4x4_s8s4_sdot, _s2_ sdot           weights of 4 or 2 bits, unpacked before it
dot_4x2_s8s4_neon, _s2_ smull, sadalp  the same, products added in int16
pairs_8x2_s8s8_neon     smull, smlal   products added in int16, which wraps, so only for weights that keep them there
widen_8x2_s16_neon      sadalp         pairs of such sums, added to int32
matrix_4x8_s8s8_smmla_2 smmla          two rows and two channels, two groups of eight; rows are loaded whole
matrix_4x8_s8s8_smmla   smmla          the same of one group
into_rows_4_neon        zip1, zip2     such sums into rows
lane_dot_16x4_s8s8_sdot sdot           each lane has activations of its own
interleave_16x4_s8      zip1, zip2     rows side by side, for the lane dot
======================  =============  ==========================================================================
"""

from __future__ import annotations

import functools
import operator
from functools import partial

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .. import meanings
from ..code import Intrinsic, call, everywhere, unpacked, update_code, vector, whole

_SDOT = "llvm.aarch64.neon.sdot.v4i32.v16i8"
_SMMLA = "llvm.aarch64.neon.smmla.v4i32.v16i8"
_SMULL = "llvm.aarch64.neon.smull.v8i16"
_SADDLP = "llvm.aarch64.neon.saddlp.v4i32.v8i16"


def dot_sdot(steps: int) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``sdot``; of four groups, each is a lane of one register of activations."""

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        if steps == 1:
            group = everywhere(data.vload([0], "int8x4"), 4, "int8x16")
            return call(_SDOT, "int32x4", vector(total, 4), vector(weight, 16), group)
        groups = T.reinterpret(data.vload([0], f"int8x{4 * steps}"), dtype=f"int32x{steps}")
        sums = vector(total, 4)
        for step in range(steps):
            group = T.reinterpret(T.broadcast(T.Shuffle([groups], [step]), 4), dtype="int8x16")
            sums = call(_SDOT, "int32x4", sums, vector(weight, 16, step), group)
        return sums

    shape = (steps, 4, 4) if steps > 1 else (4, 4)
    code = update_code(4, ((4 * steps,), "int8"), (shape, "int8"), update)
    return meanings.dot_product(4, 4, "int8", steps=steps), code


def packed_sdot(bits: int) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``sdot`` with weights of few bits."""
    planes = 8 // bits

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        sums = vector(total, 4)
        for plane in range(planes):
            group = everywhere(data.vload([4 * plane], "int8x4"), 4, "int8x16")
            sums = call(_SDOT, "int32x4", sums, unpacked(weight, 0, plane, bits, 16), group)
        return sums

    code = update_code(4, ((4 * planes,), "int8"), ((4, 4), "uint8"), update)
    return meanings.packed_dot(4, 4, "int8", bits, 1), code


def packed_smull(bits: int) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``smull`` with weights of few bits, whose products are added up in int16."""
    planes = 8 // bits

    def update(data: tirx.Buffer, weight: tirx.Buffer, total: tirx.Buffer) -> tirx.Expr:
        def products(plane: int) -> tirx.Expr:
            factors = unpacked(weight, 0, plane, bits, 8)
            return call(_SMULL, "int16x8", _pair_everywhere(data, 2 * plane), factors)

        sums = functools.reduce(operator.add, [products(plane) for plane in range(planes)])
        return vector(total, 4) + call(_SADDLP, "int32x4", sums)

    code = update_code(4, ((2 * planes,), "int8"), ((4, 2), "uint8"), update)
    return meanings.packed_dot(4, 2, "int8", bits, 1), code


def matrix_smmla(steps: int) -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``smmla``: groups of eight of two rows are brought beside each other first."""

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((2, 8 * steps), "int8", offset_factor=1, strides=["down", 1]),
        B: T.Buffer((steps, 4, 8) if steps > 1 else (4, 8), "int8", offset_factor=1),
        C: T.Buffer((2, 2, 2), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:2, 0:2, 0:2], A[0:2, 0 : 8 * steps], whole(B))
            T.writes(C[0:2, 0:2, 0:2])
            for pair in T.unroll(2):
                C[pair, 0, T.ramp(0, 1, 4)] = _smmla(A, B, C, pair, steps)

    return meanings.matrix_dot(4, 8, "int8", steps), code


def _smmla(
    rows: tirx.Buffer, weight: tirx.Buffer, sums: tirx.Buffer, pair: tirx.Expr, steps: int
) -> tirx.Expr:
    upper, lower = (rows.vload([row, 0], f"int8x{8 * steps}") for row in range(2))
    total = sums.vload([pair, 0, 0], "int32x4")
    for step in range(steps):
        places = [8 * steps * row + 8 * step + place for row in range(2) for place in range(8)]
        front = [step] if steps > 1 else []
        group = weight.vload([*front, 2 * pair, 0], "int8x16")
        total = call(_SMMLA, "int32x4", total, T.Shuffle([upper, lower], places), group)
    return total


def into_rows() -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of bringing sums of two rows and two channels each into rows."""

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((2, 2, 2), "int32", offset_factor=1),
        B: T.Buffer((2, 1, 4), "int32", offset_factor=1, strides=["down", "across", 1]),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:2, 0:2, 0:2])
            T.writes(B[0:2, 0, 0:4])
            for row in T.unroll(2):
                B[row, 0, T.ramp(0, 1, 4)] = _row(A, row)

    return meanings.into_rows(4), code


def _row(sums: tirx.Buffer, row: tirx.Expr) -> tirx.Expr:
    pairs = [T.reinterpret(sums.vload([pair, 0, 0], "int32x4"), dtype="int64x2") for pair in range(2)]
    return T.reinterpret(T.Shuffle(pairs, [row, 2 + row]), dtype="int32x4")


def lane_dot_sdot() -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``sdot`` on activations of each lane's own."""

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((16, 4), "int8", offset_factor=1),
        B: T.Buffer((16, 4), "int8", offset_factor=1),
        C: T.Buffer((16,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:16], A[0:16, 0:4], B[0:16, 0:4])
            T.writes(C[0:16])
            for part in T.unroll(4):
                C[T.ramp(4 * part, 1, 4)] = call(
                    *(_SDOT, "int32x4", C.vload([4 * part], "int32x4")),
                    *(A.vload([4 * part, 0], "int8x16"), B.vload([4 * part, 0], "int8x16")),
                )

    return meanings.lane_dot(16, 4, "int8"), code


def interleave_four_rows() -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of bringing four rows of 16 bytes side by side."""

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((4, 1, 16), "int8", offset_factor=1, strides=["down", "across", 1]),
        B: T.Buffer((16, 4), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:4, 0, 0:16])
            T.writes(B[0:16, 0:4])
            B[0, T.ramp(0, 1, 64)] = _side_by_side(A)

    return meanings.interleave(16, 4, "int8", "int8"), code


def _side_by_side(rows: tirx.Buffer) -> tirx.Expr:
    """Return four rows of 16 bytes, of each lane side by side: pairs of rows by bytes, then both by pairs."""
    data = [rows.vload([row, 0, 0], "int8x16") for row in range(4)]
    quarters = []
    for half in range(2):
        pairs = [T.reinterpret(_zipped(data[row : row + 2], 16, half), dtype="int16x8") for row in (0, 2)]
        quarters += [T.reinterpret(_zipped(pairs, 8, part), dtype="int8x16") for part in range(2)]
    return T.Shuffle(quarters, list(range(64)))


def _zipped(vectors: list[tirx.Expr], lanes: int, half: int) -> tirx.Expr:
    first = half * lanes // 2
    places = [vector * lanes + lane for lane in range(first, first + lanes // 2) for vector in range(2)]
    return T.Shuffle(vectors, places)


def _pair_everywhere(data: tirx.Buffer, first: int = 0) -> tirx.Expr:
    pair = T.reinterpret(data.vload([first], "int8x2"), dtype="int16")
    return T.reinterpret(T.broadcast(pair, 4), dtype="int8x8")


def pairs() -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``smull``, whose results are added up in int16 (``smlal``)."""

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((2,), "int8", offset_factor=1),
        B: T.Buffer((8, 2), "int8", offset_factor=1),
        C: T.Buffer((8, 2), "int16", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:8, 0:2], A[0:2], B[0:8, 0:2])
            T.writes(C[0:8, 0:2])
            for half in T.unroll(2):
                C[4 * half, T.ramp(0, 1, 8)] = C.vload([4 * half, 0], "int16x8") + call(
                    *(_SMULL, "int16x8", _pair_everywhere(A), B.vload([4 * half, 0], "int8x8"))
                )

    return meanings.narrow_dot(8, 2, "int8", 2, "int16"), code


def widen_pairs() -> tuple[PrimFunc, PrimFunc]:
    """Return meaning and code of ``sadalp``: pairs of int16 sums, added to int32."""

    @T.prim_func(s_tir=True)
    def code(
        A: T.Buffer((8, 2), "int16", offset_factor=1),
        C: T.Buffer((8,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:8], A[0:8, 0:2])
            T.writes(C[0:8])
            for half in T.unroll(2):
                C[T.ramp(4 * half, 1, 4)] = C.vload([4 * half], "int32x4") + call(
                    _SADDLP, "int32x4", A.vload([4 * half, 0], "int16x8")
                )

    return meanings.widening(8, 2, "int16"), code


INTRINSICS: dict[str, Intrinsic] = {
    "dot_4x4_s8s8_sdot_4": partial(dot_sdot, 4),
    "dot_4x4_s8s8_sdot_2": partial(dot_sdot, 2),
    "dot_4x4_s8s8_sdot": partial(dot_sdot, 1),
    "matrix_4x8_s8s8_smmla_2": partial(matrix_smmla, 2),
    "matrix_4x8_s8s8_smmla": partial(matrix_smmla, 1),
    "into_rows_4_neon": into_rows,
    **{f"dot_4x4_s8s{bits}_sdot": partial(packed_sdot, bits) for bits in (4, 2)},
    **{f"dot_4x2_s8s{bits}_neon": partial(packed_smull, bits) for bits in (4, 2)},
    "lane_dot_16x4_s8s8_sdot": lane_dot_sdot,
    "interleave_16x4_s8": interleave_four_rows,
    "pairs_8x2_s8s8_neon": pairs,
    "widen_8x2_s16_neon": widen_pairs,
}
