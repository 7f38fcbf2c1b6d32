"""What tensor intrinsics mean: the blocks that a schedule looks for, whatever the architecture.

    dot product   accumulator[lane] += sum over depth of data[depth] * weight[lane, depth]
    bfloat16 dot  the same of floats, whose bits lie in uint16
    packed dot    a dot product with weights of few bits, several groups in a word
    narrow dot    sums[lane, part] += sum over the part's share of depth of data[.] * weight[lane, .]
    widening      accumulator[lane] += sum over parts of sums[lane, part]
    matrix dot    sums[pair, row, channel] += sum over depth of data[row, depth] * weight[2 * pair + channel, depth]
    into rows     accumulator[row, lane] = sums[lane / 2, row, lane % 2]
    lane dot      accumulator[lane] += sum over rows of groups[lane, row] * weight[lane, row]
    interleave    groups[lane, row] = rows[row, lane]

A dot product broadcasts its group of ``depth`` activations to every lane. In a lane dot, the kernel of depthwise
convolution, a register holds for each of its lanes (channels) the activations of as many rows of the image, which
``interleave`` has brought side by side.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc


def _int32(value: tirx.Expr) -> tirx.Expr:
    return T.cast(value, "int32")


def of_bfloat16(bits: tirx.Expr) -> tirx.Expr:
    """Return the float32 that a bfloat16 is, of its bits."""
    return T.reinterpret(T.shift_left(T.cast(bits, "uint32"), T.uint32(16)), dtype="float32")


def plane_of(word: tirx.Expr, plane: tirx.Expr, bits: int) -> tirx.Expr:
    """Return a number of so many bits, uint8, of a packed word, uint8; plane 0 lies in its lowest bits."""
    shift = T.cast(plane * bits, "uint8")
    return T.bitwise_and(T.shift_right(word, shift), tirx.const(2**bits - 1, "uint8"))


def unpacked(word: tirx.Expr, plane: tirx.Expr, bits: int) -> tirx.Expr:
    """Return a weight, int8, of a packed word, in which the least weight is 0."""
    return T.cast(plane_of(word, plane, bits), "int8") - tirx.const(2 ** (bits - 1), "int8")


def dot_product(
    lanes: int,
    depth: int,
    data_dtype: str,
    weight_dtype: str = "int8",
    steps: int = 1,
    widen: Callable[[tirx.Expr], tirx.Expr] = _int32,
    total_dtype: str = "int32",
) -> PrimFunc:
    """Return a dot product of this shape; one of several ``steps`` takes as many groups of activations.

    ``widen`` brings a factor to the dtype of the total.
    """
    if steps > 1:
        return _dot_product_of_steps(lanes, depth, data_dtype, weight_dtype, steps)

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((depth,), data_dtype, offset_factor=1),
        B: T.Buffer((lanes, depth), weight_dtype, offset_factor=1),
        C: T.Buffer((lanes,), total_dtype, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, depth):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        C[vi] = C[vi] + widen(A[vk]) * widen(B[vi, vk])

    return meaning


def _dot_product_of_steps(lanes: int, depth: int, data_dtype: str, weight_dtype: str, steps: int) -> PrimFunc:
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


def packed_dot(lanes: int, depth: int, data_dtype: str, bits: int, words: int) -> PrimFunc:
    """Return a dot product with packed weights; several groups of activations meet one word."""
    if words == 1:
        return _dot_of_one_word(lanes, depth, data_dtype, bits)
    planes = 8 // bits

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((words * planes * depth,), data_dtype, offset_factor=1),
        B: T.Buffer((words, lanes, depth), "uint8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : words * planes * depth], B[0:words, 0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for w in T.serial(0, words):
                for p in T.serial(0, planes):
                    for i in T.serial(0, lanes):
                        for k in T.serial(0, depth):
                            with T.sblock("update"):
                                vi, vw, vp, vk = T.axis.remap("SRRR", [i, w, p, k])
                                C[vi] = C[vi] + T.cast(A[(vw * planes + vp) * depth + vk], "int32") * T.cast(
                                    unpacked(B[vw, vi, vk], vp, bits), "int32"
                                )

    return meaning


def _dot_of_one_word(lanes: int, depth: int, data_dtype: str, bits: int) -> PrimFunc:
    planes = 8 // bits

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((planes * depth,), data_dtype, offset_factor=1),
        B: T.Buffer((lanes, depth), "uint8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : planes * depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for p in T.serial(0, planes):
                for i in T.serial(0, lanes):
                    for k in T.serial(0, depth):
                        with T.sblock("update"):
                            vi, vp, vk = T.axis.remap("SRR", [i, p, k])
                            C[vi] = C[vi] + T.cast(A[vp * depth + vk], "int32") * T.cast(
                                unpacked(B[vi, vk], vp, bits), "int32"
                            )

    return meaning


def narrow_dot(lanes: int, depth: int, data_dtype: str, parts: int, dtype: str) -> PrimFunc:
    """Return a dot product whose lanes have several sums in a narrow dtype."""
    width = depth // parts
    if width == 1:
        return _narrow_products(lanes, depth, data_dtype, dtype)

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((depth,), data_dtype, offset_factor=1),
        B: T.Buffer((lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes, parts), dtype, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes, 0:parts], A[0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes, 0:parts])
            for i in T.serial(0, lanes):
                for p in T.serial(0, parts):
                    for k in T.serial(0, width):
                        with T.sblock("update"):
                            vi, vp, vk = T.axis.remap("SSR", [i, p, k])
                            C[vi, vp] = C[vi, vp] + T.cast(A[vp * width + vk], dtype) * T.cast(
                                B[vi, vp * width + vk], dtype
                            )

    return meaning


def _narrow_products(lanes: int, depth: int, data_dtype: str, dtype: str) -> PrimFunc:
    """Return a narrow dot whose sums gain one product each: nothing is added up inside."""

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((depth,), data_dtype, offset_factor=1),
        B: T.Buffer((lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes, depth), dtype, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes, 0:depth], A[0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes, 0:depth])
            for i in T.serial(0, lanes):
                for p in T.serial(0, depth):
                    with T.sblock("update"):
                        vi, vp = T.axis.remap("SS", [i, p])
                        C[vi, vp] = C[vi, vp] + T.cast(A[vp], dtype) * T.cast(B[vi, vp], dtype)

    return meaning


def widening(lanes: int, parts: int, dtype: str) -> PrimFunc:
    """Return the addition of narrow sums to int32 accumulators."""

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((lanes, parts), dtype, offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes, 0:parts])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for p in T.serial(0, parts):
                    with T.sblock("update"):
                        vi, vp = T.axis.remap("SR", [i, p])
                        C[vi] = C[vi] + T.cast(A[vi, vp], "int32")

    return meaning


def matrix_dot(lanes: int, depth: int, data_dtype: str, steps: int) -> PrimFunc:
    """Return the products of two rows with as many channels as there are lanes, of ``steps`` groups."""
    pairs = lanes // 2

    @T.prim_func(s_tir=True)
    def of_steps(
        A: T.Buffer((2, steps * depth), data_dtype, offset_factor=1, strides=["down", 1]),
        B: T.Buffer((steps, lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((pairs, 2, 2), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:pairs, 0:2, 0:2], A[0:2, 0 : steps * depth], B[0:steps, 0:lanes, 0:depth])
            T.writes(C[0:pairs, 0:2, 0:2])
            for s, p, r, c, k in T.grid(steps, pairs, 2, 2, depth):
                with T.sblock("update"):
                    vp, vr, vc, vs, vk = T.axis.remap("SSSRR", [p, r, c, s, k])
                    C[vp, vr, vc] = C[vp, vr, vc] + _int32(A[vr, vs * depth + vk]) * _int32(
                        B[vs, vp * 2 + vc, vk]
                    )

    @T.prim_func(s_tir=True)
    def of_one(
        A: T.Buffer((2, depth), data_dtype, offset_factor=1, strides=["down", 1]),
        B: T.Buffer((lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((pairs, 2, 2), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:pairs, 0:2, 0:2], A[0:2, 0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:pairs, 0:2, 0:2])
            for p, r, c, k in T.grid(pairs, 2, 2, depth):
                with T.sblock("update"):
                    vp, vr, vc, vk = T.axis.remap("SSSR", [p, r, c, k])
                    C[vp, vr, vc] = C[vp, vr, vc] + _int32(A[vr, vk]) * _int32(B[vp * 2 + vc, vk])

    return of_steps if steps > 1 else of_one


def into_rows(lanes: int) -> PrimFunc:
    """Return the move of sums of two rows and two channels each into rows."""
    pairs = lanes // 2

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((pairs, 2, 2), "int32", offset_factor=1),
        B: T.Buffer((2, 1, lanes), "int32", offset_factor=1, strides=["down", "across", 1]),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:pairs, 0:2, 0:2])
            T.writes(B[0:2, 0, 0:lanes])
            for r, i in T.grid(2, lanes):
                with T.sblock("move"):
                    vr, vi = T.axis.remap("SS", [r, i])
                    B[vr, 0, vi] = A[vi // 2, vr, vi % 2]

    return meaning


def lane_dot(lanes: int, depth: int, data_dtype: str) -> PrimFunc:
    """Return a dot product within lanes."""

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


def interleave(lanes: int, depth: int, data_dtype: str, stored_dtype: str = "uint8") -> PrimFunc:
    """Return the move of as many rows of bytes side by side, widened where the dtype is wider."""

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((depth, 1, lanes), stored_dtype, offset_factor=1, strides=["down", "across", 1]),
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
