"""Rows of ARM."""

from __future__ import annotations

from ..row import BitDot, DotInstruction, NarrowDot, PackedDot, TargetRow

ROWS = (
    TargetRow(
        name="aarch64-neon",
        arch="aarch64",
        features=("neon",),
        vector_bits=128,
        vector_registers=32,
        l1_bytes=32768,
        l2_bytes=524288,
        activation_dtype="uint8",
        bit_dots=(BitDot(None, 16),),
        dots=(DotInstruction(None, lanes=4, depth=1, data_dtype="int16"),),
        packed_dots=tuple(PackedDot(None, bits, 4, 1, "int16") for bits in (4, 2)),
        narrow_dot=NarrowDot(None, None, lanes=8, depth=1, data_dtype="int16", parts=1, dtype="int16"),
    ),
    TargetRow(
        name="armv7-neon",
        arch="arm",
        features=("neon",),
        vector_bits=128,
        vector_registers=16,
        l1_bytes=32768,
        l2_bytes=262144,
        activation_dtype="uint8",
        bit_dots=(BitDot(None, 16),),
        dots=(DotInstruction(None, lanes=4, depth=1, data_dtype="int16"),),
        packed_dots=tuple(PackedDot(None, bits, 4, 1, "int16") for bits in (4, 2)),
        narrow_dot=NarrowDot(None, None, lanes=8, depth=1, data_dtype="int16", parts=1, dtype="int16"),
        rounds_vectors=False,
    ),
)
