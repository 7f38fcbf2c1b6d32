"""What nvcc makes of the kernels: the instructions that were meant, as many as a tile needs, and registers to spare.

All kernels of an architecture are compiled at once, and read back by nvdisasm. Counts are of one warp; comments have
what they are made of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tvmq.bench.cuda import kernels, machine_code
from tvmq.bench.cuda.kernels import Kernel
from tvmq.bench.cuda.machine_code import Code, count
from tvmq.errors import TvmqError
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.cuda.tiles import Tile, Unit, candidates
from tvmq.targets.cuda.archs import capability
from tvmq.targets.row import TargetRow
from tvmq.targets.rows import GPU_ROWS

ROWS = {row.name: row for row in GPU_ROWS}
WAYS = ("sm_61", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a")
"""Whose kernels are looked at. Those of 6.1 and 7.0 become code of 7.5 where nvcc has no other: they are made alike."""

KERNELS: dict[str, Kernel] = {
    "int8 product": kernels.int8_product(4096, 4096, 4096),
    "float product": kernels.float_product(4096, 4096, 4096),
    "convolution 3x3": kernels.int8_convolution(64, 56, 64, 64, 3),
    "convolution 1x1": kernels.int8_convolution(64, 14, 1024, 256, 1, adds=True),
    "first layer": kernels.int8_convolution(64, 224, 3, 64, 7, 2),
    "depthwise": kernels.depthwise_convolution(64, 56, 144),
    "depthwise 5x5": kernels.depthwise_convolution(64, 28, 240, kernel=5),
    "average pool": kernels.average_pool(64, 56, 256),
    "max pool": kernels.max_pool(64, 112, 96),
    **{
        kind: kernels.element_wise(kind, (64, 56, 56, 144))
        for kind in ("quantize", "dequantize", "table", "add", "multiply")
    },
    "softmax": kernels.of_rows("softmax", 4096, 256),
    "layer norm": kernels.of_rows("layer norm", 4096, 768),
    "product of two": kernels.product_of_two(768, 208, 208, 64),
    "4-bit weights": kernels.packed_product(1, 512, 4096),
    "weight-only": kernels.weight_only_product(1, 16384, 4096),
}


@dataclass(frozen=True)
class Compiled:
    """All kernels of a row."""

    row: TargetRow
    arch: str
    codes: Mapping[str, Code]

    def code(self, name: str, which: int | None = None) -> Code:
        """Return the code of a kernel; of several launches the last, or that with a number."""
        found = [code for each, code in self.codes.items() if re.match(rf"{_key(name)}_\d+_kernel", each)]
        found.sort(key=lambda code: code.name)
        return found[-1 if which is None else which]

    @property
    def has_matrices(self) -> bool:
        return 8 in self.row.gpu.matrix_bits


def _key(name: str) -> str:
    return "k_" + re.sub(r"\W", "_", name)


def arch_of(name: str) -> str | None:
    """Return what kernels of a row are compiled for; None where there is no compiler for it."""
    try:
        known = nvcc.known_archs(nvcc.find_nvcc())
    except TvmqError:
        return None
    found = max(capability(name), known[0])
    if found not in known:
        return None
    return name if found == capability(name) else f"sm_{found}"


@pytest.fixture(scope="module", params=WAYS)
def compiled(request: pytest.FixtureRequest) -> Compiled:
    arch = arch_of(request.param)
    if arch is None:
        pytest.skip("there is no nvcc for it")
    if machine_code.find_nvdisasm() is None:
        pytest.skip("nvdisasm is not installed")
    if request.param == "sm_70" and arch != request.param:
        pytest.skip("sm_61 has the same kernels")
    row = ROWS[request.param]
    functions = {
        f"{_key(name)}_{place}": call.function
        for name, kernel in KERNELS.items()
        for place, call in enumerate(kernel.calls(row))
    }
    return Compiled(row, arch, machine_code.disassembled(functions, arch))


def tile_of(row: TargetRow, rows: int, columns: int, depth: int, item: int = 1) -> Tile:
    """Return the tile that the analytic model takes."""
    return candidates(rows, columns, depth, 1, item, 8, 8, row.gpu)[0]


def unit_of(compiled: Compiled, rows: int = 4096) -> Unit:
    """Return what multiplies int8, with so many rows."""
    if not compiled.has_matrices:
        return Unit.DOTS
    return Unit.WARPGROUPS if compiled.row.gpu.warpgroups and rows > 32 else Unit.MATRIX


def test_no_kernel_uses_memory_of_its_own(compiled):
    """No stack, and nothing spilled."""
    for code in compiled.codes.values():
        if compiled.row.name == "sm_61" and code.name.startswith("k_convolution_1x1"):
            assert code.spilled_bytes <= 16  # a tile of 128 x 128 leaves no register for the residual
            continue
        assert (code.stack_bytes, code.spilled_bytes) == (0, 0), code.name
        assert not code.count("LDL|STL"), code.name


# ---- Products ----


def products(tile: Tile, unit: Unit, capability: int) -> int:
    """Return the instructions of a warp, or of a thread, that multiply a stage."""
    if unit is Unit.WARPGROUPS:
        # 64 rows, all columns and 32 numbers an instruction of four warps.
        return tile.rows // 64 // (tile.down // 4) * (tile.depth // 32)
    if unit is Unit.MATRIX:
        # 16 x 8 results of 32 numbers an instruction: of 64 x 64 results and 64 numbers, 4 * 8 * 2 = 64.
        whole = (tile.rows // tile.down // 16) * (tile.columns // tile.across // 8) * (tile.depth // 32)
        return whole * (1 if capability >= 80 else 4)  # before 8.0: 8 x 8 results of 16
    # A thread has results of every n-th row and every 16th column; a piece of 16 bytes has four products of each.
    return (tile.rows // (tile.threads // 16)) * (tile.columns // 16) * 4


def reads(tile: Tile, unit: Unit) -> int:
    """Return the reads of 16 bytes a lane from shared memory that these products take."""
    if unit is Unit.WARPGROUPS:
        return 0
    if unit is Unit.MATRIX:
        # Four matrices at a time: 16 rows of 32 numbers, or 16 columns. Of 64 x 64 x 64: (4 + 4) * 2 = 16.
        columns = -(-(tile.columns // tile.across) // 16)
        return (tile.rows // tile.down // 16 + columns) * (tile.depth // 32)
    return tile.rows // (tile.threads // 16) + tile.columns // 16


INSTRUCTIONS = {
    Unit.WARPGROUPS: ("IGMMA", "LDSM"),
    Unit.MATRIX: ("IMMA", "LDSM"),
    Unit.DOTS: ("IDP.4A", "LDS"),
    Unit.FLOATS: ("FFMA", "LDS"),
}
TENSOR_CORES = (Unit.WARPGROUPS, Unit.MATRIX)
MOST_OTHERS = {Unit.WARPGROUPS: 116, Unit.MATRIX: 80, Unit.DOTS: 64, Unit.FLOATS: 64}
"""Instructions of the loop that are no products, reads or copies: addresses, the stage, barriers."""


@pytest.mark.parametrize("name", ["int8 product", "float product"])
def test_a_stage_of_a_product(compiled, name):
    tile = tile_of(compiled.row, 4096, 4096, 4096, 4 if name == "float product" else 1)
    unit = tile.unit
    code = compiled.code(name)
    multiply, read = INSTRUCTIONS[unit]
    loop = code.loop_of(multiply)
    assert loop is not code.instructions
    wanted = products(tile, unit, compiled.row.gpu.capability)
    # Threads in a grid go piece by piece, and of small tiles the compiler writes out all pieces of a stage.
    turns = 1 if unit in TENSOR_CORES else count(loop, multiply) // wanted
    assert turns in (1, tile.depth // 16)
    assert count(loop, multiply) == wanted * turns
    wide = count(loop, r"LDSM\.16\.M88\.4" if unit in TENSOR_CORES else r"LDS(\.U)?\.128")
    assert wide == reads(tile, unit) * turns
    copies = tile.stage_bytes // 16 // tile.threads
    copied = count(loop, "LDGSTS") if compiled.row.gpu.copies_async else count(loop, r"LDG\.E.*128")
    if unit in TENSOR_CORES:
        assert copied == copies  # 128 x 256 x 64: 384 rows of 4 pieces by 256 threads
    others = len(loop) - count(loop, f"{multiply}|{read}|LDGSTS|LDG|STS")
    assert others <= MOST_OTHERS[unit], machine_code.kinds(loop)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("int8 product", (4096, 4096, 4096)),
        ("convolution 3x3", (64 * 56 * 56, 64, 576)),
        ("convolution 1x1", (64 * 14 * 14, 256, 1024)),
    ],
)
def test_products_copy_and_store_whole_vectors(compiled, name, shape):
    code = compiled.code(name)
    multiply = INSTRUCTIONS[unit_of(compiled)][0]
    assert code.count(multiply)
    if compiled.row.gpu.copies_async:
        assert code.count(r"LDGSTS\.E\.BYPASS\.128") == code.count("LDGSTS") > 0
    assert code.count(r"LDG\.E\.128") == code.count("LDG") - code.count("LDGSTS|LDGDEPBAR")
    assert code.count(r"STG\.E\.128") == code.count("STG") > 0
    tile = tile_of(compiled.row, *shape)
    assert code.blocks(tile.threads, tile.shared_bytes, compiled.row.gpu) >= 1


def test_blocks_of_products_on_a_multiprocessor(compiled):
    """A tile of 128 x 256 takes most of the registers, 3 stages of 24 KiB of the shared memory less than half."""
    tile = tile_of(compiled.row, 64 * 56 * 56, 64, 576)
    code = compiled.code("convolution 3x3")
    blocks = code.blocks(tile.threads, tile.shared_bytes, compiled.row.gpu)
    assert blocks * tile.threads >= 256, (
        tile,
        code.registers,
    )  # two warps at least on each of the four parts


def test_the_first_layer_multiplies_by_matrices(compiled):
    """Its three channels lie at odd addresses, so bytes are read one by one; its weights are copied."""
    code = compiled.code("first layer")
    assert code.count(INSTRUCTIONS[unit_of(compiled)][0])
    assert code.count(r"STG\.E\.128") == code.count("STG") > 0
    if compiled.row.gpu.copies_async:
        assert code.count(r"LDGSTS\.E\.64")


def test_a_product_of_two(compiled):
    """The second operand's columns lie in no run: its threads collect four bytes, and the first is copied."""
    code = compiled.code("product of two")
    assert code.count(INSTRUCTIONS[unit_of(compiled)][0])
    assert code.count(r"STG\.E\.128") == code.count("STG") > 0


@pytest.mark.parametrize("name", ["4-bit weights", "weight-only"])
def test_products_of_one_row(compiled, name):
    code = compiled.code(name)
    assert code.count("FFMA" if name == "weight-only" else r"IDP\.4A|IMMA")


def test_weights_that_stay_packed(compiled):
    """A turn of a lane has 16 bytes of each of 4 columns, 128 weights in groups of 32, and reads 32 numbers."""
    code = compiled.code("weight-only")
    loop = code.loop_of("FFMA")
    weights, groups = 4 * 32, 4 * 8
    assert count(loop, "FFMA") == weights + 2 * groups  # the offset and the scale of each group
    assert count(loop, "PRMT") == weights
    assert count(loop, r"LDG\.E\.128") == count(loop, "LDG") == 4 + 8 + 4 * 2  # words, numbers, scales
    assert len(loop) < 3.75 * weights
    assert code.registers <= 128  # four warps on each of the four parts


# ---- What has no product ----


ELEMENT_WISE = {
    # loads and stores of 16 bytes that 16 results take
    "quantize": (4, 1),
    "table": (1, 1),
    "add": (2, 1),
    "multiply": (2, 1),
    # of 4 results
    "dequantize": (0, 1),
    # 4 of the window, and one multiplier
    "average pool": (4, 1),
    "max pool": (9, 1),
    # a column of the window: 4 rows of data, 4 weights of 16 channels; offsets and multipliers are 4 each
    "depthwise": (4 + 4 + 4 + 4, 1),
    # weights are words of 4 bytes, one a channel
    "depthwise 5x5": (4 + 4 + 4, 1),
}


@pytest.mark.parametrize("name", ELEMENT_WISE)
def test_threads_load_and_store_whole_vectors(compiled, name):
    """Also where channels are no power of two, and at the borders of images."""
    code, (loads, stores) = compiled.code(name), ELEMENT_WISE[name]
    assert code.count(r"LDG\.E\.128") == loads
    assert (code.count(r"STG\.E\.128"), code.count("STG")) == (stores, stores)
    # entries; the multiplier; 4 bytes; weights
    others = {"table": 16, "average pool": 1, "dequantize": 1, "depthwise 5x5": 16}
    assert code.count("LDG") == loads + others.get(name, 0)
    # Bytes become numbers by shifts and permutations, and not by conversions of 8 bits, which are slow.
    assert not code.count("I2I")
    assert code.blocks(128, 0, compiled.row.gpu) >= 6, code.registers


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("add", 11),  # 2 unpacked, 2 multiplied, a shift, 2 limits, and a share of packing
        ("multiply", 14),
        ("table", 7),
        ("dequantize", 10),
        ("max pool", 38),  # 9 bytes unpacked, 8 compared
        ("average pool", 19),
    ],
)
def test_instructions_a_result(compiled, name, most):
    """What they are now, so that none of them grows unseen."""
    lanes = 4 if name == "dequantize" else 16
    code = compiled.code(name)
    assert len(code.instructions) - code.count("NOP") <= most * lanes


def test_a_column_of_the_depthwise_window(compiled):
    """Of 16 channels: 4 rows of data are turned, by 8 permutations for 4 channels, and a dp4a adds each channel's."""
    code = compiled.code("depthwise")
    (loop,) = code.loops
    assert (count(loop, "LDG"), count(loop, "IDP"), count(loop, "PRMT")) == (8, 16, 32)
    assert len(loop) <= 6 * 16


@pytest.mark.parametrize("name", ["softmax", "layer norm"])
def test_rows_are_reduced_by_shuffles(compiled, name):
    code = compiled.code(name)
    assert code.count(r"SHFL\.BFLY") == 2 * 5  # of 32 lanes, twice
    assert not code.count("BAR|LDS|STS")
    assert code.count(r"STG\.E\.128") == code.count("STG") > 0
    assert code.count(r"LDG\.E\.128") == code.count("LDG")
    assert code.blocks(128, 0, compiled.row.gpu) >= 8, code.registers
