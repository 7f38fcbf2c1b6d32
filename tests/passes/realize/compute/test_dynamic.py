"""Rows that are quantized while a model runs equal NumPy's, to the bit, and so do the products behind them."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tests.emulated_gpu import counted
from tests.gpu import is_real
from tvmq.passes.hub import arithmetic, packing
from tvmq.passes.realize.compute import contraction, dynamic
from tvmq.passes.realize.compute.epilogue import Conversion, DequantizeRows
from tvmq.passes.realize.realizers.dots import lay_out
from tvmq.passes.realize.realizers.weights import Weight
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.rules import schedule
from tvmq.schedules.start import start_from_offset

from .conftest import target_of

EMULATED = False


def run_all(row, define, arrays):
    """Return all results of a definition, and how many launches it took on an emulated GPU."""
    placeholders = [
        te.placeholder([tirx.IntImm("int64", n) for n in array.shape], str(array.dtype), name=f"p{place}")
        for place, array in enumerate(arrays)
    ]
    results = define(*placeholders)
    func = te.create_prim_func([*placeholders, *results]).with_attr("global_symbol", "main")
    library = compile_kernel(schedule(start_from_offset(func), row, 1, "main"), target_of(row))
    device = tvm.cpu() if row.gpu is None else tvm.cuda(0)
    out = [
        tvm.runtime.tensor(np.full([int(n) for n in each.shape], 77, str(each.dtype)), device)
        for each in results
    ]
    given = [tvm.runtime.tensor(array, device) for array in arrays]
    if row.gpu is None or is_real():
        library["main"](*given, *out)
        return [each.numpy() for each in out], 0
    with counted() as launches:
        library["main"](*given, *out)
    return [each.numpy() for each in out], len(launches)


def rows_like(shape):
    """Return rows of all kinds: of any numbers, zeros, one sign, ties, the largest and the smallest, and none."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal(shape).astype(np.float32)
    flat = data.reshape(-1, shape[-1])
    kinds = [
        lambda row: row * 0,
        np.abs,
        lambda row: -np.abs(row),
        lambda row: np.round(row * 64).clip(-127, 127) / 2 * np.where(np.arange(row.size) == 1, 0, 1),
        lambda row: row * np.float32(1e38),
        lambda row: row * np.float32(1e-45),
        lambda row: row * np.float32(3e-39),
        lambda row: np.where(np.arange(row.size) == row.size - 1, np.nan, row),
        lambda row: np.where(np.arange(row.size) == 0, -np.nan, row),
        lambda row: np.where(np.arange(row.size) == row.size // 2, np.inf, row),
        lambda row: np.where(np.arange(row.size) == row.size // 3, -np.inf, row),
        lambda row: -(row * 0),
        lambda row: np.where(np.arange(row.size) % 2, np.float32(-3e38), np.float32(3e38)),
    ]
    with np.errstate(all="ignore"):
        for place in range(1, len(flat)):
            flat[place] = kinds[(place - 1) % len(kinds)](flat[place])
    return data


SHAPES = [(15, 64), (2, 7, 33), (14, 7), (3, 1300), (14, 1)]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("define", [dynamic.symmetric, dynamic.asymmetric])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_quantize_rows(row, shape, define, dtype):
    data, conversion = rows_like(shape), Conversion(row.converts_by, largest_rounded=2.0**10)
    lanes = None if row.gpu else row.vector_bits // 32
    found, launches = run_all(row, partial(define, dtype=dtype, conversion=conversion, lanes=lanes), [data])
    expected = arithmetic.quantize_rows(data, dtype, define is dynamic.symmetric)
    for one, other in zip(found, expected, strict=False):  # zero points are results of asymmetric ones alone
        np.testing.assert_array_equal(one, other)
    if launches and shape[-1] > 16:
        assert launches == 1


def test_what_integers_stand_for():
    data = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    data[1], data[2, 3], data[3] = 0, np.nan, np.abs(data[3])
    for dtype, symmetric in product(("int8", "uint8"), (True, False)):
        integers, scales, zeros = arithmetic.quantize_rows(data, dtype, symmetric)
        back = arithmetic.dequantize(integers, scales[:, None], zeros[:, None])
        assert np.isnan(back[2]).all() and not back[1].any() and scales[1] == 1
        for line in (0, 3, 4):
            assert np.abs(back[line] - data[line]).max() <= scales[line] * 0.5001
        if not symmetric:
            assert zeros[3] == np.iinfo(dtype).min < zeros[0]


# rows, inner product, channels, symmetric, with a bias, bits
PRODUCTS = [
    (1, 64, 33, True, False, 8),
    (1, 40, 16, False, True, 4),
    (9, 37, 16, True, True, 8),
    (9, 37, 16, False, False, 8),
    (21, 96, 24, False, True, 8),
    (21, 96, 24, True, True, 4),
]


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda case: "-".join(map(str, case)))
def test_products(run_kernel, row, case):
    rows, inner, channels, symmetric, has_bias, bits = case
    rng = np.random.default_rng(0)
    values = rng.standard_normal((rows, inner)).astype(np.float32)
    data, scales, zeros = arithmetic.quantize_rows(values, row.activation_dtype, symmetric)
    limit = 2 ** (bits - 1) - 1
    weight = rng.integers(-limit, limit + 1, (inner, channels)).astype(np.int8)
    columns, bias = rng.random(channels, np.float32) + 0.5, rng.standard_normal(channels).astype(np.float32)
    info = np.iinfo(row.activation_dtype)
    layout = lay_out(
        *(row, Weight(weight, np.ones(channels), 1), partial(packing.pack_matmul, weight)),
        *(lambda depth: (packing.ceil_div(inner, depth),), False, (int(info.min), int(info.max))),
        rows=rows,
    )
    sums = weight.sum(axis=0, dtype=np.int32)
    offset = -int(zeros[0]) * sums if symmetric else np.zeros(channels, np.int32)
    arrays = [packing.pack_channels(array, 1, layout.dot.lanes) for array in (offset, columns)]
    arrays += [scales, *([] if symmetric else [zeros, sums]), *([bias] if has_bias else [])]
    epilogue = DequantizeRows(not symmetric, has_bias, Conversion(row.converts_by))
    assert epilogue.operands == len(arrays) - 2
    define = partial(contraction.matmul, out_channels=channels, dot=layout.dot, epilogue=epilogue)
    result = run_kernel(define, [data, layout.weights, *arrays])
    centred = data.astype(np.int32) - zeros.astype(np.int32)[:, None]
    total = arithmetic.matmul_accumulator(centred, weight)
    expected = arithmetic.scale_rows(total, scales, columns, bias if has_bias else None)
    np.testing.assert_array_equal(result, expected)
