"""What each target can do: one frozen row a target, the most capable first.

A row is chosen by the features of a ``tvm.target.Target`` (see ``targets.features``). It is all that passes
and schedules know of the machine: nothing else in the project asks for a CPU by name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DotInstruction:
    """One exact integer dot-product instruction (or short sequence), as the kernels see it.

    ``lanes`` int32 accumulators each gain ``depth`` products of one broadcast group of ``depth`` activations
    with their own ``depth`` int8 weights.

    Attributes
    ----------
    intrinsic : name in ``targets.intrinsics``; None leaves the code to LLVM's vectorizer.
    data_dtype : dtype that activations have when they reach the instruction; where it is wider than the
        stored dtype, the kernel widens a strip of activations first.
    widened : name of the intrinsic that takes int16 weights, which a kernel of many rows widens once for all of them.
    lane_limit : the instruction adds products in saturating int16, so it is exact only for weights of which those that
        meet there, summed by sign, keep within this limit (``passes.hub.lane_sums``); None for any weights.
    steps : groups of ``depth`` activations whose int16 sums are added before they are widened.
    is_sought : ``Calibrate`` makes weights so that this one is exact.
    """

    intrinsic: str | None
    lanes: int
    depth: int
    data_dtype: str
    widened: str | None = None
    lane_limit: int | None = None
    steps: int = 1
    is_sought: bool = False


@dataclass(frozen=True)
class LaneDot:
    """One exact dot product within each lane: the kernel of depthwise convolution.

    ``lanes`` int32 accumulators each gain ``depth`` products of their own activations with their own int8 weights.
    The activations, of as many rows of an image, are brought side by side first.

    Attributes
    ----------
    intrinsic, interleave : names in ``targets.intrinsics`` of the dot product and of bringing side by side.
    data_dtype : dtype that activations have when they reach the instruction.
    """

    intrinsic: str
    interleave: str
    lanes: int
    depth: int
    data_dtype: str


@dataclass(frozen=True)
class TargetRow:
    """Capabilities of one target family.

    Attributes
    ----------
    name : systematic name, architecture and instruction set.
    arch : ``"x86_64"``, ``"aarch64"``.
    features : LLVM feature names that a CPU must have for this row.
    vector_bits : width of a vector register, in bits.
    vector_registers : architectural vector registers.
    l1_bytes, l2_bytes : data cache a core, in bytes.
    activation_dtype : integer dtype in which quantized activations are stored, ``"uint8"`` or ``"int8"``.
    dots : the int8 dot products of the target, the fastest first; the last is exact for any weights.
    lane_dot : the dot product within lanes, exact for any weights; None where products go one by one.
    """

    name: str
    arch: str
    features: tuple[str, ...]
    vector_bits: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    activation_dtype: str
    dots: tuple[DotInstruction, ...]
    lane_dot: LaneDot | None = None

    @property
    def sought_dot(self) -> DotInstruction | None:
        """The instruction that ``Calibrate`` makes weights for; None where all are exact for any weights."""
        return next((dot for dot in self.dots if dot.is_sought), None)


ROWS: tuple[TargetRow, ...] = (
    TargetRow(
        name="x86-avx512vnni",
        arch="x86_64",
        features=("avx512f", "avx512bw", "avx512vl", "avx512vnni"),
        vector_bits=512,
        vector_registers=32,
        l1_bytes=32768,
        l2_bytes=1048576,
        activation_dtype="uint8",
        dots=(DotInstruction("dot_16x4_u8s8_avx512vnni", lanes=16, depth=4, data_dtype="uint8"),),
        lane_dot=LaneDot(
            "lane_dot_16x4_u8s8_avx512vnni", "interleave_16x4_u8", lanes=16, depth=4, data_dtype="uint8"
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
        dots=(DotInstruction("dot_8x4_u8s8_avxvnni", lanes=8, depth=4, data_dtype="uint8"),),
        lane_dot=LaneDot(
            "lane_dot_8x4_u8s8_avxvnni", "interleave_8x4_u8", lanes=8, depth=4, data_dtype="uint8"
        ),
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
        dots=(
            DotInstruction("dot_16x4_u8s8_avx512_4", 16, 4, data_dtype="uint8", lane_limit=128, steps=4),
            DotInstruction(
                *("dot_16x4_u8s8_avx512_2", 16, 4, "uint8"), lane_limit=128, steps=2, is_sought=True
            ),
            DotInstruction("dot_16x4_u8s8_avx512", 16, 4, data_dtype="uint8", lane_limit=128),
            DotInstruction(
                "dot_16x2_s16s8_avx512", 16, 2, data_dtype="int16", widened="dot_16x2_s16s16_avx512"
            ),
        ),
        lane_dot=LaneDot(
            "lane_dot_16x2_s16s8_avx512", "interleave_16x2_s16", lanes=16, depth=2, data_dtype="int16"
        ),
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
        dots=(
            DotInstruction("dot_8x4_u8s8_avx2_4", 8, 4, data_dtype="uint8", lane_limit=128, steps=4),
            DotInstruction("dot_8x4_u8s8_avx2_2", 8, 4, "uint8", lane_limit=128, steps=2, is_sought=True),
            DotInstruction("dot_8x4_u8s8_avx2", 8, 4, data_dtype="uint8", lane_limit=128),
            DotInstruction("dot_8x2_s16s8_avx2", 8, 2, data_dtype="int16", widened="dot_8x2_s16s16_avx2"),
        ),
        lane_dot=LaneDot(
            "lane_dot_8x2_s16s8_avx2", "interleave_8x2_s16", lanes=8, depth=2, data_dtype="int16"
        ),
    ),
    TargetRow(
        name="aarch64-neon",
        arch="aarch64",
        features=("neon",),
        vector_bits=128,
        vector_registers=32,
        l1_bytes=32768,
        l2_bytes=524288,
        activation_dtype="uint8",
        dots=(DotInstruction(None, lanes=4, depth=1, data_dtype="int16"),),
    ),
)
