"""Average pooling equals sums in NumPy, with each border rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

from tests.gpu import gpu
from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.arithmetic import Output
from tvmq.passes.realize.compute.epilogue import Conversion, Requantize
from tvmq.passes.realize.compute.pool import Window, average_pool2d
from tvmq.targets.row import TargetRow
from tvmq.targets.rows import GPU_ROWS, PORTABLE

GPU = next(row for row in GPU_ROWS if row.name == "sm_80")
OUT = Output("uint8", 20, 0, 255)


@pytest.fixture(params=[PORTABLE, GPU], ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Iterator[TargetRow]:
    """These kernels have no instructions of their own: one row of CPUs and one of GPUs will do."""
    with nullcontext() if request.param is PORTABLE else gpu():
        yield request.param


@pytest.mark.parametrize(
    ("size", "strides", "padding", "ceil_mode", "count_include_pad"),
    [
        ((2, 2), (2, 2), (0, 0, 0, 0), False, False),
        ((3, 3), (2, 2), (1, 1, 1, 1), False, False),
        ((3, 3), (2, 2), (1, 1, 1, 1), True, True),
        ((3, 2), (2, 1), (0, 1, 1, 0), True, False),
        ((7, 9), (7, 9), (0, 0, 0, 0), False, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [5, 24])
def test_average_pool2d(run_kernel, row, size, strides, padding, ceil_mode, count_include_pad, channels):
    rng = np.random.default_rng(0)
    height, width, zero_point = 7, 9, 13
    data = rng.integers(0, 256, (2, height, width, channels)).astype(np.uint8)
    window = Window(size, strides, padding, (1, 1), ceil_mode, count_include_pad)
    out_h, out_w = window.out_size(height, width)
    top, left, bottom, right = padding
    total = np.zeros((2, out_h, out_w, channels), np.int32)
    count = np.zeros((out_h, out_w), np.int64)
    for h in range(out_h):
        for w in range(out_w):
            for i in range(size[0]):
                for j in range(size[1]):
                    y, x = h * strides[0] - top + i, w * strides[1] - left + j
                    inside = 0 <= y < height and 0 <= x < width
                    if inside:
                        total[:, h, w] += data[:, y, x].astype(np.int32) - zero_point
                    counted = -top <= y < height + bottom and -left <= x < width + right
                    count[h, w] += inside or (count_include_pad and counted)
    np.testing.assert_array_equal(window.counts(height, width), count)
    multiplier = (0.8 / count).astype(np.float32)
    epilogue = Requantize(OUT, Conversion(row.converts_by) if row.gpu else Conversion())
    define = partial(average_pool2d, window=window, zero_point=zero_point, epilogue=epilogue)
    expected = arithmetic.requantize(total, multiplier[..., None], OUT)
    np.testing.assert_array_equal(run_kernel(define, [data, multiplier]), expected)
