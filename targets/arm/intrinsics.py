"""Code of ARM's tensor intrinsics: each an exact dot product of int8, beside what it means.

======================  =============  ==========================================================================
name                    instruction    arithmetic
======================  =============  ==========================================================================
dot_4x4_s8s8_sdot_4     sdot by lane   products and sums in int32; four groups of activations are one register
dot_4x4_s8s8_sdot       sdot           the same of one group
pairs_8x2_s8s8_neon     smull, smlal   products added in int16, which wraps, so only for weights that keep them there
widen_8x2_s16_neon      sadalp         pairs of such sums, added to int32
======================  =============  ==========================================================================
"""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .. import meanings
from ..code import Intrinsic, call, everywhere, update_code, vector

_SDOT = "llvm.aarch64.neon.sdot.v4i32.v16i8"
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


def _pair_everywhere(data: tirx.Buffer) -> tirx.Expr:
    pair = T.reinterpret(data.vload([0], "int8x2"), dtype="int16")
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
            for half in range(2):
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
            for half in range(2):
                C[T.ramp(4 * half, 1, 4)] = C.vload([4 * half], "int32x4") + call(
                    _SADDLP, "int32x4", A.vload([4 * half, 0], "int16x8")
                )

    return meanings.widening(8, 2, "int16"), code


INTRINSICS: dict[str, Intrinsic] = {
    "dot_4x4_s8s8_sdot_4": partial(dot_sdot, 4),
    "dot_4x4_s8s8_sdot": partial(dot_sdot, 1),
    "pairs_8x2_s8s8_neon": pairs,
    "widen_8x2_s16_neon": widen_pairs,
}
