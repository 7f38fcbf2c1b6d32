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

pytestmark = pytest.mark.parametrize(
    "row", [row for row in GPUS if row.name != "sm_61"], indirect=True, ids=lambda row: row.name
)


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
