"""What a target can do: a frozen row.

It is all that passes and schedules know of the machine: nothing else in the project asks for a CPU by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class LaneSums:
    """Which products an instruction adds in int16, and what the weights of one sign may sum up to there.

    It takes activations in groups of ``depth`` along a run of input numbers. Each group has ``parts`` sums in a lane,
    of as many neighbouring products; those of ``steps`` groups are added before they are widened.

    Attributes
    ----------
    limit : with activations of at most 255 nothing leaves int16 up to 128; nor with those of -128 to 127, both signs
        together.
    """

    limit: int
    depth: int = 4
    parts: int = 2
    steps: int = 1


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
    """

    intrinsic: str | None
    lanes: int
    depth: int
    data_dtype: str
    widened: str | None = None
    lane_limit: int | None = None
    steps: int = 1

    @property
    def lane_sums(self) -> LaneSums | None:
        """What meets in int16; None where nothing does."""
        return None if self.lane_limit is None else LaneSums(self.lane_limit, self.depth, steps=self.steps)


@dataclass(frozen=True)
class MatrixDot:
    """One exact dot product of two rows of activations with pairs of channels: a register has sums of 2 x 2.

    Sums of two rows and ``lanes`` channels lie as (pair of channels, row, channel), and are brought into rows behind
    the last product.

    Attributes
    ----------
    intrinsic, into_rows : names in ``targets.intrinsics`` of the products and of bringing into rows.
    lanes, depth, data_dtype : as for ``DotInstruction``.
    steps : groups of ``depth`` activations that it takes of each row.
    """

    intrinsic: str
    into_rows: str
    lanes: int
    depth: int
    data_dtype: str
    steps: int = 1


@dataclass(frozen=True)
class NarrowDot:
    """Products that are added in a dtype narrower than int32 for many groups, and widened once.

    It is exact for weights of which those that meet in a sum are small enough for its dtype, with the activations that
    there can be; how many groups that are depends on the weights.

    Attributes
    ----------
    product : name in ``targets.intrinsics`` of adding the products of a group to narrow sums; None for plain code.
    widen : the same of adding narrow sums to int32 accumulators.
    lanes, depth, data_dtype : as for ``DotInstruction``.
    parts : narrow sums a lane, each of ``depth / parts`` products of a group.
    dtype : of the narrow sums.
    fewest_steps : groups from which on these sums are faster than ``dots``, unless they are all that there are.
    """

    product: str | None
    widen: str | None
    lanes: int
    depth: int
    data_dtype: str
    parts: int
    dtype: str
    fewest_steps: int = 8


@dataclass(frozen=True)
class PackedDot:
    """One exact dot product with packed weights, which it unpacks in registers: for kernels of few rows.

    Attributes
    ----------
    intrinsic : name in ``targets.intrinsics``; None leaves the code to LLVM's vectorizer.
    bits : of a weight.
    lanes, depth, data_dtype : as for ``DotInstruction``.
    words : packed words that it takes at a time, each with ``8 / bits`` groups.
    """

    intrinsic: str | None
    bits: int
    lanes: int
    depth: int
    data_dtype: str
    words: int = 1


@dataclass(frozen=True)
class BitDot:
    """Products of one-bit activations and weights, four of them looked up at a time (``targets.bit_products``).

    Attributes
    ----------
    isa : which of ``targets.bit_intrinsics``; None leaves the code to LLVM's vectorizer.
    lanes : output channels that a look-up serves.
    features : LLVM features that it takes, or that tell where it is the fastest, beside those of its row.
    """

    isa: str | None
    lanes: int
    features: tuple[str, ...] = ()

    def look_up(self, tail: int) -> str | None:
        """Return the name in ``targets.intrinsics`` of adding up products; ``tail`` as in ``bit_products``."""
        return None if self.isa is None else f"bits_{self.isa}_{tail}"


@dataclass(frozen=True)
class LaneDot:
    """One exact dot product within each lane: the kernel of depthwise convolution.

    ``lanes`` int32 accumulators each gain ``depth`` products of their own activations with their own int8 weights.
    The activations, of as many rows of an image, are brought side by side first.

    Attributes
    ----------
    intrinsic, interleave : names in ``targets.intrinsics`` of the dot product and of bringing side by side; empty for a
        GPU, whose threads do both by functions of the device.
    data_dtype : dtype that activations have when they reach the instruction.
    most_stride : of a convolution up to which it is faster than products one by one.
    """

    intrinsic: str
    interleave: str
    lanes: int
    depth: int
    data_dtype: str
    most_stride: int = 1


@dataclass(frozen=True)
class NarrowTaps:
    """Products within each lane, several of which are added in a narrow dtype before they are widened.

    It is code for LLVM's vectorizer: the kernel of depthwise convolution where there is no ``LaneDot``. How many
    products that are depends on the weights and on the activations that there can be.

    Attributes
    ----------
    lanes : of the narrow sums.
    dtype : theirs.
    """

    lanes: int
    dtype: str


@dataclass(frozen=True)
class FloatDot:
    """How products of floats are computed; sums are float32 in any case.

    Attributes
    ----------
    float_type : what users ask for it by, ``"f32"`` or ``"bf16"``.
    intrinsic : name in ``targets.intrinsics``; None leaves the code to LLVM's vectorizer.
    depth : activations that the instruction takes at a time.
    data_dtype, weight_dtype : of its operands; weights of fewer bits than activations are widened in registers.
    features : LLVM features that it takes beside those of its row.
    """

    float_type: str
    intrinsic: str | None
    depth: int
    data_dtype: str
    weight_dtype: str
    features: tuple[str, ...] = ()


F32 = FloatDot("f32", None, 1, "float32", "float32")
BF16 = FloatDot("bf16", None, 1, "float32", "bfloat16")
FLOAT_TYPES = (F32.float_type, BF16.float_type)
"""What users may have floats computed in."""


@dataclass(frozen=True)
class LookUp:
    """Instructions that look up a vector of bytes in a table of 256.

    Attributes
    ----------
    name : its key in the look-ups of its architecture.
    lanes : bytes at a time.
    features : LLVM features that it takes beside those of its row.
    """

    name: str
    lanes: int
    features: tuple[str, ...] = ()


class ConvertBy(Enum):
    """How int32 and float32 become one another."""

    INSTRUCTION = "LLVM's operations, which become vector instructions"
    ADDITION = "additions: there are no instructions for vectors, or they share one pipe"
    DEVICE = "additions where the numbers allow it, else a GPU's instructions, of which it does few a cycle"


@dataclass(frozen=True)
class Gpu:
    """What the kernels know of a GPU.

    Attributes
    ----------
    capability : ten times NVIDIA's compute capability: 80 of ``sm_80``.
    matrix_bits : widths of the integers that its tensor cores multiply; none where products are ``dp4a``'s.
    copies_async : global memory goes to shared memory past the registers, while other instructions run.
    block_bytes, shared_bytes : shared memory that a block may have, and that its multiprocessor has.
    threads : that a multiprocessor holds at a time.
    multiprocessors : of a usual chip of this row, from which comes how many blocks keep it busy.
    warpgroups : four warps multiply what lies in shared memory together (``wgmma``), which no other chips can.
    """

    capability: int
    matrix_bits: tuple[int, ...]
    copies_async: bool
    block_bytes: int
    shared_bytes: int
    threads: int
    multiprocessors: int
    warpgroups: bool = False


class Extents(Enum):
    """What the extents are that a kernel is defined for: just these, one of those of a part, or a sample of any.

    A kernel whose extents are open is a loop over kernels of fixed ones, its parts: they share weights, so nothing may
    be laid out by an extent. Or it is one kernel, made from samples: its definition has the form that fits any extent.
    """

    FIXED = "fixed"
    PART = "part"
    SAMPLE = "sample"


@dataclass(frozen=True)
class TargetRow:
    """Capabilities of one target family.

    Attributes
    ----------
    name : systematic name, architecture and instruction set.
    arch : ``"x86_64"``, ``"aarch64"``, ``"arm"``.
    features : LLVM feature names that a CPU must have for this row.
    vector_bits : width of a vector register, in bits.
    vector_registers : architectural vector registers.
    l1_bytes, l2_bytes : data cache a core, in bytes.
    activation_dtype : integer dtype in which quantized activations are stored, ``"uint8"`` or ``"int8"``.
    dots : the int8 dot products of the target, the fastest first; the last is exact for any weights.
    matrix_dots : those of two rows at a time, for kernels that have neighbouring rows; the fastest first.
    narrow_dot : sums of small weights, faster still; None where there is no such.
    sought_sums : those for which ``Calibrate`` makes the weights small enough; None where any are fast.
    packed_dots : those of few rows, by bits; of each the fastest first.
    bit_dots : products of one-bit numbers, the fastest of a target first.
    lane_dot : the dot product within lanes, exact for any weights; None where there is none.
    narrow_taps : products within lanes that are added before they are widened; None where they go one by one.
    look_ups : those of a target, the fastest first; none where bytes are looked up one by one.
    float_dots : products of floats, the fastest of each type first.
    float_dot : the one of them that is used.
    converts_by : how int32 and float32 become one another.
    gpu : what its multiprocessors are like; None of a CPU.
    extents : what those of kernels are.
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
    bit_dots: tuple[BitDot, ...]
    matrix_dots: tuple[MatrixDot, ...] = ()
    narrow_dot: NarrowDot | None = None
    sought_sums: LaneSums | None = None
    packed_dots: tuple[PackedDot, ...] = ()
    lane_dot: LaneDot | None = None
    narrow_taps: NarrowTaps | None = None
    look_ups: tuple[LookUp, ...] = ()
    float_dots: tuple[FloatDot, ...] = (F32, BF16)
    float_dot: FloatDot = F32
    converts_by: ConvertBy = ConvertBy.INSTRUCTION
    gpu: Gpu | None = None
    extents: Extents = Extents.FIXED

    @property
    def is_sample(self) -> bool:
        """Whether kernels are defined for any extents."""
        return self.extents is Extents.SAMPLE

    @property
    def merges_rows(self) -> bool:
        """Whether register tiles of products take rows of any leading axes: GPUs' kernels do by themselves."""
        return self.gpu is None and self.extents is Extents.FIXED

    @property
    def weight_bits(self) -> tuple[int, ...]:
        """The widths in which kernels of integers take weights; activations of fewer than 8 bits are stored in 8."""
        return tuple(sorted({8, *(dot.bits for dot in self.packed_dots)}))

    @property
    def bit_dot(self) -> BitDot:
        """Those that are used."""
        return self.bit_dots[0]

    @property
    def few_rows(self) -> int:
        """Rows of a product up to which one register tile has them all."""
        return self.vector_registers // 2

    @property
    def has_integer_products(self) -> bool:
        """Tell whether products of two activations are faster on integers than in float."""
        return self.any_dot.depth >= 4

    @property
    def any_dot(self) -> DotInstruction:
        """The instruction that is exact for any weights."""
        return self.dots[-1]
