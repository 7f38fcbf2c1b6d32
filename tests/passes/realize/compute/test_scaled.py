"""Products of floats with packed weights and scales equal NumPy's, with every group size, and around the words' tails.

Where data are small integers and scales powers of two, no sum is rounded in any order, so results are exact.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tvmq.passes.hub import packing
from tvmq.passes.realize.compute import scaled

from .conftest import GPUS

pytestmark = pytest.mark.parametrize("row", GPUS, indirect=True, ids=lambda row: row.name)


def operands(columns, inner, bits, group):
    """Return integers ``[columns, inner]``, scales ``[columns, groups]`` and the weights that they are."""
    rng = np.random.default_rng(inner)
    low = 2 ** (bits - 1)
    integers = rng.integers(-low, low, (columns, inner)).astype(np.int8)
    length = packing.pack_words(integers, bits).size // columns * (8 // bits)
    groups = packing.ceil_div(length, group) if group < inner else 1
    scales = np.exp2(rng.integers(-1, 2, (columns, groups))).astype(np.float32)
    return integers, scales, integers * scales[:, np.arange(inner) // group if groups > 1 else [0] * inner]


# rows, columns, inner product, bits, group
MATRICES = [
    (1, 8, 512, 4, 512),
    (1, 6, 512, 4, 32),
    (2, 5, 1024, 4, 128),
    (3, 4, 320, 4, 64),
    (8, 7, 264, 4, 8),
    (1, 4, 301, 4, 301),
    (4, 9, 202, 4, 20),
    (1, 4, 4352, 4, 4352),
    (2, 4, 2304, 4, 64),
    (1, 12, 2080, 8, 16),
    (1, 4, 1536, 4, 768),
    (5, 8, 384, 8, 128),
    (1, 3, 100, 8, 100),
    (1, 8, 1024, 2, 64),
    (2, 4, 96, 2, 12),
    (9, 33, 40, 4, 8),
    (17, 40, 300, 4, 32),
    (33, 31, 64, 8, 64),
    (12, 20, 37, 2, 37),
    (3, 12, 20, 4, 20),
]


@pytest.mark.parametrize("case", MATRICES, ids=lambda case: "-".join(map(str, case)))
def test_matmul(run_kernel, case):
    rows, columns, inner, bits, group = case
    integers, scales, weights = operands(columns, inner, bits, group)
    data = np.random.default_rng(1).integers(-8, 9, (rows, inner)).astype(np.float32)
    define = partial(scaled.matmul, bits=bits, group=group)
    result = run_kernel(define, [data, packing.pack_words(integers, bits), scales])
    np.testing.assert_array_equal(result, data @ weights.T)


# batch, height, width, strides, columns, inner product, bits, group
CONVOLUTIONS = [
    (1, 2, 3, (1, 1), 12, 96, 4, 96),
    (2, 5, 7, (2, 2), 20, 72, 4, 24),
    (1, 9, 4, (3, 1), 7, 40, 8, 4),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda case: "-".join(map(str, case)))
def test_pointwise(run_kernel, case):
    batch, height, width, strides, columns, inner, bits, group = case
    integers, scales, weights = operands(columns, inner, bits, group)
    data = np.random.default_rng(1).integers(-8, 9, (batch, height, width, inner)).astype(np.float32)
    define = partial(scaled.pointwise, strides=strides, bits=bits, group=group)
    result = run_kernel(define, [data, packing.pack_words(integers, bits), scales])
    np.testing.assert_array_equal(result, data[:, :: strides[0], :: strides[1]] @ weights.T)


def test_a_vector(run_kernel):
    integers, scales, weights = operands(5, 100, 4, 100)
    data = np.random.default_rng(1).integers(-8, 9, 100).astype(np.float32)
    result = run_kernel(
        partial(scaled.matmul, bits=4, group=100), [data, packing.pack_words(integers, 4), scales]
    )
    np.testing.assert_array_equal(result, data @ weights.T)


@pytest.mark.parametrize("rows", [3, 16])
@pytest.mark.parametrize("group", [32, 512])
def test_rounding(run_kernel, rows, group):
    """Any floats: few rows add (16 + code) x, up to 31 |x|, and take 24 times the sum of x off."""
    inner = 512
    rng = np.random.default_rng(0)
    integers = rng.integers(-7, 8, (9, inner)).astype(np.int8)
    scales = rng.random((9, inner // group), np.float32) + 0.5
    data = rng.standard_normal((rows, inner)).astype(np.float32)
    weights = integers * scales[:, np.arange(inner) // group]
    result = run_kernel(
        partial(scaled.matmul, bits=4, group=group), [data, packing.pack_words(integers, 4), scales]
    )
    bound = np.abs(data).astype(np.float64) @ (31.0 * scales[:, np.arange(inner) // group]).T
    # A lane adds 8 fours, numbers and products, and 5 shuffles and 8 groups follow: 2 * 32 + 13 roundings.
    bound *= (77 if rows <= 8 else inner) * 2.0**-24
    assert (np.abs(result - data.astype(np.float64) @ weights.astype(np.float64).T) <= bound).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("inner", [4, 64, 96, 256, 1024])
def test_words_hold_what_was_packed(row, bits, inner):
    integers = (
        np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (3, inner)).astype(np.int8)
    )
    words = packing.pack_words(integers, bits)
    _, blocks, lanes, _ = words.shape
    found = np.empty((3, blocks, 4, 8 // bits, lanes, 4), np.int16)
    for plane in range(8 // bits):
        code = words.reshape(3, blocks, lanes, 4, 4) >> (bits * plane) & (2**bits - 1)
        found[:, :, :, plane] = code.transpose(0, 1, 3, 2, 4).astype(np.int16) - 2 ** (bits - 1)
    np.testing.assert_array_equal(found.reshape(3, -1)[:, :inner], integers)
    assert not found.reshape(3, -1)[:, inner:].any()
