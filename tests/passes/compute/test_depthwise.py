"""Depthwise convolution equals the NumPy reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tvmq.passes import arithmetic
from tvmq.passes.arithmetic import Output
from tvmq.passes.compute import depthwise, packing
from tvmq.passes.compute.contraction import Conv2d
from tvmq.passes.compute.epilogue import Requantize

OUT = Output("uint8", 128, 0, 255)


@pytest.mark.parametrize(
    ("height", "width", "channels", "kernel", "stride", "padding", "dilation"),
    [
        (7, 7, 16, (3, 3), 1, (1, 1, 1, 1), 1),
        (9, 13, 17, (3, 3), 2, (1, 1, 1, 1), 1),
        (8, 9, 31, (5, 5), 2, (2, 2, 2, 2), 1),
        (12, 10, 33, (3, 3), 1, (2, 2, 2, 2), 2),
        (5, 4, 8, (3, 3), 1, (0, 0, 0, 0), 1),
        (10, 1, 3, (10, 1), 1, (0, 0, 0, 0), 1),
        (6, 14, 5, (3, 3), 2, (0, 0, 1, 1), 1),
    ],
    ids=str,
)
def test_depthwise_conv2d(run_kernel, row, height, width, channels, kernel, stride, padding, dilation):
    rng = np.random.default_rng(0)
    geometry = Conv2d((stride, stride), padding, (dilation, dilation), channels, kernel, channels, 200)
    data = rng.integers(0, 256, (2, height, width, channels)).astype(np.uint8)
    weight = rng.integers(-127, 128, (channels, 1, *kernel)).astype(np.int8)
    offset = rng.integers(-30000, 30000, channels).astype(np.int32)
    multiplier = rng.uniform(0.0005, 0.003, channels).astype(np.float32)
    accumulator = offset + arithmetic.conv2d_accumulator(
        data, weight, geometry.strides, padding, geometry.dilation, channels, 200
    )
    lanes = row.dots[-1].lanes
    per_channel = [packing.pack_channels(array, 1, lanes) for array in (offset, multiplier)]
    define = partial(depthwise.depthwise_conv2d, geometry=geometry, epilogue=Requantize(OUT))
    result = run_kernel(define, [data, depthwise.pack_depthwise(weight, lanes), *per_channel])
    np.testing.assert_array_equal(result, arithmetic.requantize(accumulator, multiplier, OUT))
