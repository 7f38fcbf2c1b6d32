"""Rows of NVIDIA's GPUs, by compute capability.

Weights lie with their inner product in one run, ``[O, KH, KW, C]``: a dot product of ``lanes = 1``, whose depth is what
``dp4a`` takes. Matrix instructions take the same rows, so their layout is no other. Weights of fewer bits lie in words
of 16 bytes: of 4 bits a byte has weights 16 places apart, which is how a lane of ``mma.m16n8k32`` wants two registers.
"""

from __future__ import annotations

from dataclasses import replace

from ..row import BitDot, ConvertBy, DotInstruction, Gpu, LaneDot, PackedDot, TargetRow

KIB = 1024


def _row(gpu: Gpu, l2_bytes: int) -> TargetRow:
    return TargetRow(
        name=f"sm_{gpu.capability}{'a' if gpu.warpgroups else ''}",
        arch="cuda",
        features=(),
        vector_bits=32,  # a thread has one number of each
        vector_registers=0,  # no kernel keeps the weights of few rows packed by itself: all of them may
        l1_bytes=gpu.shared_bytes,
        l2_bytes=l2_bytes,
        activation_dtype="uint8",
        dots=(DotInstruction(None, lanes=1, depth=4, data_dtype="uint8"),),
        packed_dots=tuple(PackedDot(None, bits, 1, 16, "uint8") for bits in (4, 2)),
        lane_dot=LaneDot("", "", lanes=1, depth=4, data_dtype="uint8", most_stride=2),
        bit_dots=(BitDot(None, 1),),
        converts_by=ConvertBy.DEVICE,
        gpu=gpu,
    )


_AMPERE = Gpu(80, (8, 4, 1), True, 163 * KIB, 164 * KIB, 2048, 108)
_HOPPER = replace(
    _AMPERE,
    capability=90,
    matrix_bits=(8,),
    block_bytes=227 * KIB,
    shared_bytes=228 * KIB,
    multiprocessors=132,
)

ROWS = (
    _row(
        replace(
            _AMPERE,
            capability=120,
            matrix_bits=(8,),
            block_bytes=99 * KIB,
            shared_bytes=100 * KIB,
            threads=1536,
            multiprocessors=170,
        ),
        96 << 20,
    ),
    _row(replace(_HOPPER, warpgroups=True), 50 << 20),
    _row(_HOPPER, 50 << 20),
    _row(
        replace(
            _AMPERE,
            capability=89,
            block_bytes=99 * KIB,
            shared_bytes=100 * KIB,
            threads=1536,
            multiprocessors=128,
        ),
        72 << 20,
    ),
    _row(
        replace(
            _AMPERE,
            capability=86,
            block_bytes=99 * KIB,
            shared_bytes=100 * KIB,
            threads=1536,
            multiprocessors=82,
        ),
        6 << 20,
    ),
    _row(_AMPERE, 40 << 20),
    _row(Gpu(75, (8, 4, 1), False, 64 * KIB, 64 * KIB, 1024, 40), 4 << 20),
    _row(Gpu(70, (), False, 96 * KIB, 96 * KIB, 2048, 80), 6 << 20),
    _row(Gpu(61, (), False, 48 * KIB, 96 * KIB, 2048, 28), 2816 * KIB),
)
"""The most capable first: a chip has the first whose capability it reaches; ``sm_90a`` is asked for by its name."""
