"""Products by every tile of every unit, of few rows, and with split sums: all give NumPy's integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tests.gpu import gpu
from tvmq.passes.hub import arithmetic, packing
from tvmq.passes.hub.arithmetic import Output
from tvmq.passes.realize.compute import contraction
from tvmq.passes.realize.compute.dots import Dot
from tvmq.passes.realize.compute.epilogue import Conversion, Requantize
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.cuda import few_rows
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.cuda.tiles import Tile, candidates
from tvmq.schedules.start import start_from_offset
from tvmq.targets.parse import parse_target
from tvmq.targets.row import TargetRow
from tvmq.targets.rows import GPU_ROWS

OUT = Output("uint8", 3, 0, 255)
ROWS = {row.name: row for row in GPU_ROWS}
# rows, columns, inner product, bits of the data and of the factors: around tiles, none a multiple of them
SHAPE = (150, 72, 160)
KINDS = [
    ("sm_61", 8, 8),
    ("sm_80", 8, 8),
    ("sm_90a", 8, 8),
    ("sm_80", 8, 4),
    ("sm_80", 4, 4),
    ("sm_61", 8, 2),
]


def problem(row: TargetRow, shape: tuple[int, int, int], data_bits: int, bits: int):
    """Return the definition of a product, its arrays and its result."""
    rows, columns, depth = shape
    rng = np.random.default_rng(sum(shape))
    data = rng.integers(0, 2**data_bits, (rows, depth)).astype(np.uint8)
    weight = rng.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), (depth, columns)).astype(np.int8)
    offset = rng.integers(-2000, 2000, columns).astype(np.int32)
    multiplier = rng.uniform(0.5, 1.5, columns).astype(np.float32) * np.float32(0.4 / 2**data_bits)
    group = 4 if bits == 8 else 16
    packed = packing.pack_matmul(weight, 1, group)
    if bits < 8:
        packed = packing.pack_planes(packed, bits)
    dot = Dot(1, group, "uint8", weight_bits=bits, data_bits=data_bits)
    define = partial(
        contraction.matmul,
        out_channels=columns,
        dot=dot,
        epilogue=Requantize(OUT, Conversion(row.converts_by)),
    )
    total = offset + data.astype(np.int32) @ weight.astype(np.int32)
    return define, [data, packed, offset, multiplier], arithmetic.requantize(total, multiplier, OUT)


def kernel(define, arrays, row: TargetRow, decide) -> tirx.PrimFunc:
    placeholders = [
        te.placeholder([tirx.IntImm("int64", n) for n in array.shape], str(array.dtype), name=f"p{index}")
        for index, array in enumerate(arrays)
    ]
    func = te.create_prim_func([*placeholders, define(*placeholders)]).with_attr("global_symbol", "main")
    return cuda_kernel(start_from_offset(func), row, decide)


def run(
    func: tirx.PrimFunc, row: TargetRow, arrays: Sequence[np.ndarray], expected: np.ndarray
) -> np.ndarray:
    device = tvm.cuda(0)
    out = tvm.runtime.tensor(np.full(expected.shape, 77, expected.dtype), device)
    library = compile_kernel(func, parse_target(f"cuda -arch={row.name}"))
    library["main"](*(tvm.runtime.tensor(array, device) for array in arrays), out)
    return out.numpy()


def launches(func: tirx.PrimFunc) -> int:
    return str(func.script()).count('"threadIdx.x"')


def tiles(name: str, data_bits: int, bits: int) -> list[Tile]:
    """Return a tile of each size, with as few stages and parts as there are."""
    rows, columns, depth = SHAPE
    found = candidates(rows, columns, depth, 1, 1, data_bits, bits, ROWS[name].gpu)
    best: dict[tuple[int, ...], Tile] = {}
    for tile in sorted(found, key=lambda each: (each.splits, each.stages, each.depth)):
        best.setdefault((tile.rows, tile.columns, tile.down), tile)
    return list(best.values())


@pytest.mark.parametrize(("name", "data_bits", "bits"), KINDS)
def test_every_tile(name, data_bits, bits):
    row = ROWS[name]
    define, arrays, expected = problem(row, SHAPE, data_bits, bits)
    possible = tiles(name, data_bits, bits)
    assert len(possible) >= 8
    with gpu(row.gpu.capability):
        for tile in possible:
            func = kernel(define, arrays, row, lambda _name, _candidates, tile=tile: tile)
            np.testing.assert_array_equal(run(func, row, arrays, expected), expected, err_msg=str(tile))


@pytest.mark.parametrize("name", ["sm_61", "sm_80", "sm_90a"])
def test_split_sums(name):
    """Few tiles of a deep product: the parts of the sums are one launch, and their sum another."""
    row, chosen = ROWS[name], []
    define, arrays, expected = problem(row, (40, 24, 4096), 8, 8)

    def decide(_name, possible):
        split = next((tile for tile in possible if isinstance(tile, Tile) and tile.splits == 4), possible[0])
        chosen.append(split)
        return split

    with gpu(row.gpu.capability):
        func = kernel(define, arrays, row, decide)
        assert launches(func) == 2 and chosen[0].splits == 4
        np.testing.assert_array_equal(run(func, row, arrays, expected), expected)


def test_the_model_splits_where_tiles_are_few():
    gpu_row = ROWS["sm_80"].gpu
    assert candidates(128, 64, 16384, 1, 1, 8, 8, gpu_row)[0].splits > 1
    assert candidates(4096, 4096, 4096, 1, 1, 8, 8, gpu_row)[0].splits == 1
    assert {tile.splits for tile in candidates(128, 64, 16384, 1, 4, 32, 32, gpu_row)} == {1}  # floats


@pytest.mark.parametrize(("name", "bits"), [("sm_61", 8), ("sm_80", 8), ("sm_80", 4), ("sm_80", 2)])
@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [(1, 40, 128), (1, 33, 704), (3, 24, 1056), (8, 7, 512)]
)
def test_few_rows(name, bits, rows, columns, depth):
    row = ROWS[name]
    define, arrays, expected = problem(row, (rows, columns, depth), 8, bits)
    with gpu(row.gpu.capability):
        func = kernel(define, arrays, row, lambda _name, possible: possible[0])
        assert "ldmatrix" not in func.script() and "shuffle_xor" in func.script()
        np.testing.assert_array_equal(run(func, row, arrays, expected), expected)


def test_what_is_no_product_of_few_rows():
    """More rows than memory would wait for, and inner products that leave lanes idle, have tiles."""
    row = ROWS["sm_80"]
    for shape in ((few_rows.MOST_ROWS + 1, 16, 128), (1, 16, few_rows.LEAST_DEPTH - 4)):
        define, arrays, _ = problem(row, shape, 8, 8)
        assert "mma" in kernel(define, arrays, row, lambda _name, possible: possible[0]).script()


def test_a_tile_in_full():
    """What the arithmetic of a tile says of itself."""
    tile = candidates(4096, 4096, 4096, 1, 1, 8, 8, ROWS["sm_80"].gpu)[0]
    assert (tile.rows, tile.columns, tile.depth) == (128, 256, 128)
    assert tile.stage_bytes == (128 + 256) * 128
    packed = replace(tile, bits=4)
    assert packed.stage_bytes == 128 * 128 + 256 * 64
