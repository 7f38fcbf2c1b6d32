"""Rows of ARM."""

from __future__ import annotations

from dataclasses import replace

from ..row import (
    BitDot,
    ConvertBy,
    DotInstruction,
    LaneDot,
    LaneSums,
    LookUp,
    MatrixDot,
    NarrowDot,
    NarrowTaps,
    PackedDot,
    TargetRow,
)

_DOTPROD = TargetRow(
    name="aarch64-dotprod",
    arch="aarch64",
    features=("neon", "dotprod"),
    vector_bits=128,
    vector_registers=32,
    l1_bytes=32768,
    l2_bytes=524288,
    activation_dtype="int8",
    bit_dots=(BitDot("neon", 16),),
    dots=(
        DotInstruction("dot_4x4_s8s8_sdot_4", lanes=4, depth=4, data_dtype="int8", steps=4),
        DotInstruction("dot_4x4_s8s8_sdot_2", lanes=4, depth=4, data_dtype="int8", steps=2),
        DotInstruction("dot_4x4_s8s8_sdot", lanes=4, depth=4, data_dtype="int8"),
    ),
    packed_dots=tuple(PackedDot(f"dot_4x4_s8s{bits}_sdot", bits, 4, 4, "int8") for bits in (4, 2)),
    lane_dot=LaneDot("lane_dot_16x4_s8s8_sdot", "interleave_16x4_s8", 16, 4, "int8", most_stride=2),
    look_ups=(LookUp("look_up_16_neon", 16),),
    converts_by=ConvertBy.ADDITION,
)
ROWS = (
    replace(
        _DOTPROD,
        name="aarch64-i8mm",
        features=(*_DOTPROD.features, "i8mm"),
        l2_bytes=1048576,
        matrix_dots=(
            MatrixDot(
                "matrix_4x8_s8s8_smmla_2", "into_rows_4_neon", lanes=4, depth=8, data_dtype="int8", steps=2
            ),
            MatrixDot("matrix_4x8_s8s8_smmla", "into_rows_4_neon", lanes=4, depth=8, data_dtype="int8"),
        ),
    ),
    _DOTPROD,
    TargetRow(
        name="aarch64-neon",
        arch="aarch64",
        features=("neon",),
        vector_bits=128,
        vector_registers=32,
        l1_bytes=32768,
        l2_bytes=524288,
        activation_dtype="int8",
        bit_dots=(BitDot("neon", 16),),
        dots=(DotInstruction(None, lanes=4, depth=1, data_dtype="int16"),),
        packed_dots=tuple(PackedDot(f"dot_4x2_s8s{bits}_neon", bits, 4, 2, "int8") for bits in (4, 2)),
        sought_sums=LaneSums(128, depth=2, steps=4),
        narrow_dot=NarrowDot(
            "pairs_8x2_s8s8_neon", "widen_8x2_s16_neon", 8, 2, "int8", 2, "int16", fewest_steps=2
        ),
        narrow_taps=NarrowTaps(8, "int16"),
        look_ups=(LookUp("look_up_16_neon", 16),),
        converts_by=ConvertBy.ADDITION,
    ),
    TargetRow(
        name="armv7-neon",
        arch="arm",
        features=("neon",),
        vector_bits=128,
        vector_registers=16,
        l1_bytes=32768,
        l2_bytes=262144,
        activation_dtype="int8",
        bit_dots=(BitDot(None, 16),),
        dots=(DotInstruction(None, lanes=4, depth=1, data_dtype="int16"),),
        packed_dots=tuple(PackedDot(None, bits, 4, 1, "int16") for bits in (4, 2)),
        narrow_dot=NarrowDot(None, None, lanes=8, depth=1, data_dtype="int16", parts=1, dtype="int16"),
        narrow_taps=NarrowTaps(8, "int16"),
        converts_by=ConvertBy.ADDITION,
    ),
)
