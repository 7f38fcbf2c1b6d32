"""Rows of x86-64."""

from __future__ import annotations

from ..row import (
    BF16,
    F32,
    BitDot,
    DotInstruction,
    FloatDot,
    LaneDot,
    LaneSums,
    LookUp,
    NarrowDot,
    PackedDot,
    TargetRow,
)

ROWS = (
    TargetRow(
        name="x86-avx512vnni",
        arch="x86_64",
        features=("avx512f", "avx512bw", "avx512vl", "avx512vnni"),
        vector_bits=512,
        vector_registers=32,
        l1_bytes=32768,
        l2_bytes=1048576,
        activation_dtype="uint8",
        # Two shuffles of 32 bytes a cycle are as fast as one of 64 where there is VBMI, and waste fewer lanes.
        bit_dots=(BitDot("avx2", 32, features=("avx512vbmi",)), BitDot("avx512", 64)),
        dots=(DotInstruction("dot_16x4_u8s8_avx512vnni", lanes=16, depth=4, data_dtype="uint8"),),
        packed_dots=tuple(
            PackedDot(f"dot_16x4_u8s{bits}_avx512vnni", bits, 16, 4, "uint8") for bits in (4, 2)
        ),
        lane_dot=LaneDot(
            "lane_dot_16x4_u8s8_avx512vnni", "interleave_16x4_u8", lanes=16, depth=4, data_dtype="uint8"
        ),
        look_ups=(
            LookUp("look_up_64_avx512vbmi", 64, features=("avx512vbmi",)),
            LookUp("look_up_64_avx512", 64),
        ),
        float_dots=(
            F32,
            FloatDot("bf16", "dot_16x2_bf16_avx512bf16", 2, "bfloat16", "bfloat16", ("avx512bf16",)),
            BF16,
        ),
    ),
    TargetRow(
        name="x86-avxvnni",
        arch="x86_64",
        features=("avx2", "avxvnni"),
        vector_bits=256,
        vector_registers=16,
        l1_bytes=32768,
        l2_bytes=1048576,
        activation_dtype="uint8",
        bit_dots=(BitDot("avx2", 32),),
        dots=(DotInstruction("dot_8x4_u8s8_avxvnni", lanes=8, depth=4, data_dtype="uint8"),),
        packed_dots=tuple(PackedDot(f"dot_8x4_u8s{bits}_avxvnni", bits, 8, 4, "uint8") for bits in (4, 2)),
        lane_dot=LaneDot(
            "lane_dot_8x4_u8s8_avxvnni", "interleave_8x4_u8", lanes=8, depth=4, data_dtype="uint8"
        ),
        look_ups=(LookUp("look_up_32_avx2", 32),),
    ),
    TargetRow(
        name="x86-avx512",
        arch="x86_64",
        features=("avx512f", "avx512bw"),
        vector_bits=512,
        vector_registers=32,
        l1_bytes=32768,
        l2_bytes=1048576,
        activation_dtype="uint8",
        bit_dots=(BitDot("avx512", 64),),
        dots=(
            DotInstruction("dot_16x4_u8s8_avx512_4", 16, 4, data_dtype="uint8", lane_limit=128, steps=4),
            DotInstruction("dot_16x4_u8s8_avx512_2", 16, 4, data_dtype="uint8", lane_limit=128, steps=2),
            DotInstruction("dot_16x4_u8s8_avx512", 16, 4, data_dtype="uint8", lane_limit=128),
            DotInstruction(
                "dot_16x2_s16s8_avx512", 16, 2, data_dtype="int16", widened="dot_16x2_s16s16_avx512"
            ),
        ),
        sought_sums=LaneSums(128, steps=2),
        narrow_dot=NarrowDot("pairs_16x4_u8s8_avx512", "widen_16x2_s16_avx512", 16, 4, "uint8", 2, "int16"),
        packed_dots=tuple(
            PackedDot(f"dot_16x4_u8s{bits}_avx512_{words}", bits, 16, 4, "uint8", words)
            for bits, words in ((4, 2), (4, 1), (2, 1))
        ),
        lane_dot=LaneDot(
            "lane_dot_16x2_s16s8_avx512", "interleave_16x2_s16", lanes=16, depth=2, data_dtype="int16"
        ),
        look_ups=(LookUp("look_up_64_avx512", 64),),
    ),
    TargetRow(
        name="x86-avx2",
        arch="x86_64",
        features=("avx2",),
        vector_bits=256,
        vector_registers=16,
        l1_bytes=32768,
        l2_bytes=524288,
        activation_dtype="uint8",
        bit_dots=(BitDot("avx2", 32),),
        dots=(
            DotInstruction("dot_8x4_u8s8_avx2_4", 8, 4, data_dtype="uint8", lane_limit=128, steps=4),
            DotInstruction("dot_8x4_u8s8_avx2_2", 8, 4, data_dtype="uint8", lane_limit=128, steps=2),
            DotInstruction("dot_8x4_u8s8_avx2", 8, 4, data_dtype="uint8", lane_limit=128),
            DotInstruction("dot_8x2_s16s8_avx2", 8, 2, data_dtype="int16", widened="dot_8x2_s16s16_avx2"),
        ),
        sought_sums=LaneSums(128, steps=2),
        narrow_dot=NarrowDot("pairs_8x4_u8s8_avx2", "widen_8x2_s16_avx2", 8, 4, "uint8", 2, "int16"),
        packed_dots=tuple(
            PackedDot(f"dot_8x4_u8s{bits}_avx2_{words}", bits, 8, 4, "uint8", words)
            for bits, words in ((4, 2), (4, 1), (2, 1))
        ),
        lane_dot=LaneDot(
            "lane_dot_8x2_s16s8_avx2", "interleave_8x2_s16", lanes=8, depth=2, data_dtype="int16"
        ),
        look_ups=(LookUp("look_up_32_avx2", 32),),
    ),
)
