"""All target rows, the most capable of each architecture first.

A row is chosen by the features of a ``tvm.target.Target`` (see ``targets.features``), a GPU's by its capability.
"""

from __future__ import annotations

from .arm.rows import ROWS as ARM
from .cuda.rows import ROWS as CUDA
from .row import BitDot, DotInstruction, NarrowDot, PackedDot, TargetRow
from .x86.rows import ROWS as X86

ROWS: tuple[TargetRow, ...] = (*X86, *ARM)
"""Of CPUs."""

GPU_ROWS: tuple[TargetRow, ...] = CUDA

PORTABLE = TargetRow(
    name="portable",
    arch="any",
    features=(),
    vector_bits=128,
    vector_registers=32,
    l1_bytes=32768,
    l2_bytes=524288,
    activation_dtype="uint8",
    bit_dots=(BitDot(None, 16),),
    dots=(DotInstruction(None, lanes=4, depth=1, data_dtype="int16"),),
    packed_dots=tuple(PackedDot(None, bits, 4, 1, "int16") for bits in (4, 2)),
    narrow_dot=NarrowDot(None, None, lanes=8, depth=1, data_dtype="int16", parts=1, dtype="int16"),
)
"""Kernels without instructions of their own, which run on any machine; no target has this row."""
