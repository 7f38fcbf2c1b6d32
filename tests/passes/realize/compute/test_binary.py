"""Kernels of one-bit numbers equal the NumPy reference, in bits and in sums."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest

from tvmq.passes.hub import arithmetic
from tvmq.passes.realize.compute import binary, bit_counts
from tvmq.passes.realize.compute.binary import Threshold
from tvmq.passes.realize.compute.contraction import Conv2d
from tvmq.passes.realize.compute.epilogue import Conversion, Dequantize, Requantize, RequantizeAdd
from tvmq.passes.realize.compute.pool import Window
from tvmq.passes.realize.realizers.binary_layers import kernel_of
from tvmq.targets import bit_products
from tvmq.targets.row import ConvertBy

from .conftest import GPUS, in_turn

EMULATED = False

# batch, height, width, in, out, kernel, stride, padding, dilation, groups
CONVOLUTIONS = [
    (1, 7, 7, 16, 32, 3, 1, 1, 1, 1),
    (1, 5, 8, 12, 17, 1, 1, 0, 1, 1),
    (2, 6, 13, 10, 40, 3, 1, 1, 1, 1),
    (1, 9, 11, 5, 9, 5, 1, 2, 1, 1),
    (1, 14, 14, 32, 70, 3, 2, 1, 1, 1),
    (1, 12, 12, 6, 10, 3, 1, 2, 2, 1),
    (1, 10, 10, 24, 36, 3, 1, 1, 1, 3),
    (1, 6, 7, 14, 12, 3, 1, 1, 1, 2),
    (1, 6, 6, 7, 8, 3, 1, 1, 1, 1),
    (1, 6, 7, 6, 4, 3, 1, 1, 1, 2),  # all groups in one byte
    (1, 1, 9, 784, 64, 1, 1, 0, 1, 1),
    (1, 1, 1, 84, 10, 1, 1, 0, 1, 1),
]


@pytest.mark.parametrize(
    ("case", "is_bits", "pads_zero"),
    in_turn(CONVOLUTIONS, [True, False], [True, False]),
    ids=lambda part: "-".join(map(str, part)) if isinstance(part, tuple) else None,
)
def test_conv2d(run_kernel, row, case, is_bits, pads_zero):
    batch, height, width, channels, out_channels, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(0)
    data = rng.choice([-1, 1], (batch, height, width, channels))
    weight = rng.choice([-1, 1], (out_channels, channels // groups, kernel, kernel)).astype(np.int8)
    geometry = Conv2d(
        *((stride, stride), (padding,) * 4, (dilation, dilation), groups, (kernel, kernel)), out_channels
    )
    expected = arithmetic.conv2d_accumulator(
        *(data, weight, geometry.strides, geometry.padding, geometry.dilation, groups),
        0 if pads_zero else -1,
    )
    thresholds = rng.integers(-5, 6, out_channels).astype(np.int32)
    if is_bits:
        arrays, epilogue = [thresholds], Threshold()
    else:
        arrays = [np.zeros(out_channels, np.int32), np.ones(out_channels, np.float32)]
        epilogue = Dequantize()
    kernel = kernel_of(row, geometry, (height, width), channels, pads_zero, weight, arrays, epilogue)
    result = run_kernel(kernel.define, [binary.pack_bits(data), *kernel.constants])
    if is_bits:
        bits = np.unpackbits(result, axis=-1, bitorder="little").reshape(*result.shape[:3], kernel.groups, -1)
        a_group = out_channels // kernel.groups
        assert not bits[..., a_group:].any()
        found = bits[..., :a_group].reshape(expected.shape)
        np.testing.assert_array_equal(found, expected >= thresholds)
    else:
        np.testing.assert_array_equal(result.reshape(expected.shape), expected.astype(np.float32))


# batch, height, width, in, out, kernel, stride, padding, groups
TAILS = [(1, 5, 6, channels, channels, 3, 1, 1, 1) for channels in (1, 7, 8, 9, 31, 33, 64)]
TILES = [
    (1, 9, 15, 512, 136, 3, 1, 1, 1),  # several stages, and all taps of a class
    (2, 33, 17, 128, 33, 1, 1, 0, 1),
    (1, 3, 3, 64, 24, 5, 1, 2, 1),  # each place has its own taps in padding
    (1, 8, 9, 64, 24, 3, 2, 1, 2),  # bytes of groups; and bytes of two groups
    (1, 8, 9, 36, 12, 3, 1, 1, 3),
    (2, 5, 6, 9, 3, 3, 1, 1, 3),  # one channel a group
    (1, 1, 3, 4160, 24, 1, 1, 0, 1),
    (1, 1, 1, 33, 7, 1, 1, 0, 1),
    (1, 1, 12, 16384, 16, 1, 1, 0, 1),  # few results of long sums
]


ON_GPUS = [
    *product(TAILS + TILES, ["bits"], [True, False]),
    *product(TILES, ["requantize", "add"], [True]),
]


@pytest.mark.parametrize("row", GPUS, ids=lambda row: row.name, indirect=True)
@pytest.mark.parametrize(
    ("case", "kind", "pads_zero"),
    ON_GPUS,
    ids=lambda part: "-".join(map(str, part)) if isinstance(part, tuple) else None,
)
def test_tiles_of_gpus(run_kernel, row, case, kind, pads_zero):
    """Whatever sums become: around the tails of bytes and tiles, in every class of padding."""
    batch, height, width, channels, out_channels, kernel, stride, padding, groups = case
    rng = np.random.default_rng(0)
    data = rng.choice([-1, 1], (batch, height, width, channels))
    weight = rng.choice([-1, 1], (out_channels, channels // groups, kernel, kernel)).astype(np.int8)
    geometry = Conv2d((stride, stride), (padding,) * 4, (1, 1), groups, (kernel, kernel), out_channels)
    sums = arithmetic.conv2d_accumulator(
        data, weight, geometry.strides, geometry.padding, geometry.dilation, groups, 0 if pads_zero else -1
    )
    if kind == "bits":
        thresholds = rng.integers(-5, 6, out_channels).astype(np.int32)
        made = kernel_of(
            row, geometry, (height, width), channels, pads_zero, weight, [thresholds], Threshold()
        )
        result = run_kernel(made.define, [binary.pack_bits(data), *made.constants])
        expected = np.packbits(sums >= thresholds, axis=-1, bitorder="little")
        np.testing.assert_array_equal(result.reshape(expected.shape), expected)
        return
    fraction, out = 5, arithmetic.Output("uint8", 3, 0, 255)
    offset = rng.integers(-300, 300, out_channels).astype(np.int32)
    multiplier = rng.uniform(0.005, 0.05, out_channels).astype(np.float32)
    conversion = Conversion(ConvertBy.DEVICE)
    accumulator = ((sums << fraction) + offset).astype(np.int32)
    residuals = []
    if kind == "requantize":
        epilogue = Requantize(out, conversion)
        expected = arithmetic.requantize(accumulator, multiplier, out)
    else:
        addend = arithmetic.Addend(7, 300)
        residuals = [rng.integers(0, 256, sums.shape).astype(np.uint8)]
        epilogue = RequantizeAdd(out, addend, 4, conversion)
        steps = arithmetic.scale_accumulator(accumulator, multiplier)
        expected = arithmetic.shift_to(steps + arithmetic.weigh(residuals[0], addend), 4, out)
    made = kernel_of(
        *(
            row,
            geometry,
            (height, width),
            channels,
            pads_zero,
            weight,
            [offset, multiplier],
            epilogue,
            fraction,
        )
    )
    result = run_kernel(made.define, [binary.pack_bits(data), *made.constants, *residuals])
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize("row", GPUS, ids=lambda row: row.name, indirect=True)
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 31, 33, 64])
def test_binarize_on_gpus(run_kernel, row, channels):
    data = np.random.default_rng(0).standard_normal((3, 5, channels)).astype(np.float32)
    result = run_kernel(partial(bit_counts.binarize, threshold=0.25), [data])
    np.testing.assert_array_equal(result, np.packbits(data >= 0.25, axis=-1, bitorder="little"))


@pytest.mark.parametrize("tail", range(4))
def test_table_has_the_sums_of_products(tail):
    entries, unit = bit_products.table(tail), bit_products.unit_of(tail)
    for bits in range(16):
        for weight in range(16):
            products = [
                (1 if bits >> place & 1 else -1) * (1 if weight >> place & 1 else -1) for place in range(4)
            ]
            assert unit * entries[16 * bits + weight] == sum(products)
            if tail and max(bits, weight) < 2**tail:
                ending = entries[bit_products.TAIL + 16 * bits + weight]
                assert unit * ending == sum(products[:tail])
    assert not entries[bit_products.PADDING : bit_products.PADDING + 16].any()


@pytest.mark.parametrize("channels", [1, 8, 13, 32, 40, 107])
def test_binarize(run_kernel, row, channels):
    rng = np.random.default_rng(0)
    data = rng.choice(
        np.array([0.25, 0.2499999, -1, 3, np.inf, -np.inf, np.nan], np.float32), (3, 5, channels)
    )
    result = run_kernel(partial(binary.binarize, threshold=0.25), [data])
    np.testing.assert_array_equal(result, np.packbits(data >= 0.25, axis=-1, bitorder="little"))


def test_pool(run_kernel, row):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (2, 7, 9, 16)) * rng.integers(0, 2, (2, 7, 9, 16))
    window = Window((3, 2), (2, 2), (1, 0, 1, 1), (1, 1), ceil_mode=False, count_include_pad=False)
    flips = np.array([0b10100101, 0b1111], np.uint8)
    padded = np.pad(bits, ((0, 0), (1, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), axis=(1, 2))[:, ::2, ::2]
    expected = np.packbits(windows.max(axis=(-1, -2)), axis=-1, bitorder="little") ^ flips
    data = np.packbits(bits, axis=-1, bitorder="little")
    result = run_kernel(partial(binary.pool, window=window), [data, flips])
    np.testing.assert_array_equal(result, expected)
