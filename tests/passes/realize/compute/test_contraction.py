"""Integer convolution and matmul equal the NumPy reference, at sizes around the tiles' tails."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest

from tvmq.passes.hub import arithmetic, packing
from tvmq.passes.hub.arithmetic import Addend, Output
from tvmq.passes.hub.lane_sums import largest_sums, runs_of
from tvmq.passes.realize.compute import contraction
from tvmq.passes.realize.compute.contraction import Conv2d
from tvmq.passes.realize.compute.dots import Dot
from tvmq.passes.realize.compute.epilogue import Conversion, Dequantize, Requantize, RequantizeAdd
from tvmq.targets.rows import ROWS

from .conftest import in_turn

ZERO_POINT = 7
OUT = Output("uint8", 11, 13, 251)
RESIDUAL = Addend(3, 5793)
SHIFT = 13


def dot_of(row):
    dot = row.dots[-1]
    return Dot(dot.lanes, dot.depth, dot.data_dtype)


def skip_repeated(row, kind):
    """Skip epilogues on rows whose instructions are emulated, which is slow; they are the same on every row."""
    if row.arch in ("aarch64", "arm") and kind != "requantize":
        pytest.skip("tested on other rows")


def requantized(row):
    return Requantize(OUT, Conversion(row.converts_by))


def arrays_of(rng, inner, channels):
    """Return offset and multiplier whose results fill the range of ``OUT`` and leave it at both ends."""
    offset = rng.integers(-2000, 2000, channels).astype(np.int32)
    multiplier = (rng.uniform(0.5, 1.5, channels) * 0.012 / np.sqrt(inner)).astype(np.float32)
    return offset, multiplier


def finish(row, kind, accumulator, multiplier, residual):
    """Return the epilogue and its reference result."""
    if kind == "requantize":
        return requantized(row), arithmetic.requantize(accumulator, multiplier, OUT)
    if kind == "dequantize":
        expected = accumulator.astype(np.float32) * multiplier
        return Dequantize(0.0, 6.0), np.clip(expected, np.float32(0), np.float32(6))
    total = arithmetic.scale_accumulator(accumulator, multiplier) + arithmetic.weigh(residual, RESIDUAL)
    return RequantizeAdd(OUT, RESIDUAL, SHIFT, Conversion(row.converts_by)), arithmetic.shift_to(
        total, SHIFT, OUT
    )


# batch, height, width, in, out, kernel, stride, padding, dilation, groups
CONVOLUTIONS = [
    (1, 7, 7, 16, 16, (1, 1), 1, (0, 0, 0, 0), 1, 1),
    (1, 5, 8, 15, 17, (1, 1), 1, (0, 0, 0, 0), 1, 1),
    (1, 3, 9, 31, 33, (1, 1), 2, (0, 0, 0, 0), 1, 1),
    (2, 6, 13, 4, 8, (3, 3), 1, (1, 1, 1, 1), 1, 1),
    (1, 14, 14, 32, 40, (3, 3), 2, (1, 1, 1, 1), 1, 1),
    (1, 17, 19, 3, 7, (3, 3), 2, (0, 0, 1, 1), 1, 1),
    (1, 9, 11, 5, 9, (5, 5), 1, (2, 2, 2, 2), 1, 1),
    (1, 12, 31, 8, 16, (1, 7), 1, (0, 3, 0, 3), 1, 1),
    (1, 12, 12, 6, 10, (3, 3), 1, (2, 2, 2, 2), 2, 1),
    (1, 10, 10, 24, 36, (3, 3), 1, (1, 1, 1, 1), 1, 3),
    (2, 8, 8, 8, 24, (3, 3), 1, (1, 1, 1, 1), 1, 8),
    (1, 4, 4, 1, 1, (4, 4), 1, (0, 0, 0, 0), 1, 1),
    (1, 23, 1, 2, 65, (3, 1), 3, (1, 0, 1, 0), 1, 1),
]


@pytest.mark.parametrize(
    ("case", "kind"),
    [*product(CONVOLUTIONS, ["requantize"]), *in_turn(CONVOLUTIONS, ["add", "dequantize"])],
    ids=lambda part: "-".join(map(str, part)).replace(" ", "") if isinstance(part, tuple) else None,
)
def test_conv2d(run_kernel, row, case, kind):
    skip_repeated(row, kind)
    check_conv2d(run_kernel, row, case, kind, dot_of(row))


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.matrix_dots], ids=lambda row: row.name, indirect=True
)
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("case", [case for case in CONVOLUTIONS if case[9] == 1], ids=str)
def test_conv2d_of_two_rows(run_kernel, row, case, steps):
    (own,) = (dot for dot in row.matrix_dots if dot.steps == steps)
    if -(-case[3] // own.depth) % steps:
        pytest.skip("its groups are not whole")
    dot = Dot(own.lanes, own.depth, own.data_dtype, steps=steps, rows=2)
    check_conv2d(run_kernel, row, case, "requantize", dot)


def check_conv2d(run_kernel, row, case, kind, dot):
    batch, height, width, channels, out_channels, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(0)
    geometry = Conv2d(
        (stride, stride), padding, (dilation, dilation), groups, kernel, out_channels, ZERO_POINT
    )
    data = rng.integers(0, 256, (batch, height, width, channels)).astype(np.uint8).view(row.activation_dtype)
    weight = rng.integers(-127, 128, (out_channels, channels // groups, *kernel)).astype(np.int8)
    offset, multiplier = arrays_of(rng, channels // groups * kernel[0] * kernel[1], out_channels)
    accumulator = offset + arithmetic.conv2d_accumulator(
        data, weight, geometry.strides, padding, geometry.dilation, groups, ZERO_POINT
    )
    residual = rng.integers(0, 256, accumulator.shape).astype(np.uint8)
    if kind == "add":
        multiplier = multiplier * np.float32(2**SHIFT)
    epilogue, expected = finish(row, kind, accumulator, multiplier, residual)
    packed = packing.pack_conv2d(weight, groups, dot.lanes, dot.depth)
    per_channel = [packing.pack_channels(array, groups, dot.lanes) for array in (offset, multiplier)]
    define = partial(contraction.conv2d, geometry=geometry, dot=dot, epilogue=epilogue)
    operands = [residual] * epilogue.operands
    result = run_kernel(define, [data, packed, *per_channel, *operands])
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("height", "width", "channels", "out_channels", "kernel", "stride", "padding"),
    [
        (23, 37, 3, 8, (3, 3), 2, (1, 1, 1, 1)),
        (20, 61, 3, 17, (7, 7), 2, (3, 3, 3, 3)),
        (9, 8, 1, 5, (4, 4), 1, (0, 0, 0, 0)),
        (13, 11, 5, 33, (3, 3), 1, (0, 2, 1, 0)),
        (6, 150, 2, 4, (1, 5), 3, (0, 2, 0, 2)),
    ],
)
def test_conv2d_with_merged_columns(
    run_kernel, row, height, width, channels, out_channels, kernel, stride, padding
):
    dot = dot_of(row)
    rng = np.random.default_rng(0)
    geometry = Conv2d((stride, stride), padding, (1, 1), 1, kernel, out_channels, ZERO_POINT)
    data = rng.integers(0, 256, (2, height, width, channels)).astype(np.uint8).view(row.activation_dtype)
    weight = rng.integers(-127, 128, (out_channels, channels, *kernel)).astype(np.int8)
    offset, multiplier = arrays_of(rng, channels * kernel[0] * kernel[1], out_channels)
    accumulator = offset + arithmetic.conv2d_accumulator(
        data, weight, geometry.strides, padding, (1, 1), 1, ZERO_POINT
    )
    packed = packing.pack_conv2d(packing.merge_columns(weight), 1, dot.lanes, dot.depth)
    per_channel = [packing.pack_channels(array, 1, dot.lanes) for array in (offset, multiplier)]
    define = partial(
        contraction.conv2d,
        geometry=geometry,
        dot=dot,
        merged=True,
        epilogue=requantized(row),
    )
    result = run_kernel(define, [data, packed, *per_channel])
    np.testing.assert_array_equal(result, arithmetic.requantize(accumulator, multiplier, OUT))


@pytest.mark.parametrize(
    ("shape", "depth", "dilation", "merged"),
    [((3, 7, 7), 4, 1, True), ((1, 4, 4), 4, 1, True), ((3, 3, 3), 4, 2, False), ((8, 3, 3), 4, 1, False)],
)
def test_columns_merge_where_channels_would_be_padded(shape, depth, dilation, merged):
    assert packing.merges_columns(shape, depth, dilation) is merged


@pytest.mark.parametrize("multiplier", [1e-3, 1e7], ids=["usual", "beyond int32"])
def test_a_result_beyond_int32_is_limited(run_kernel, row, multiplier):
    dot = dot_of(row)
    data = np.array([[0, 255, 255], [255, 0, 255]], np.uint8).view(row.activation_dtype)
    weight = np.array([[127, -127], [127, -127], [-127, 127]], np.int8)
    accumulator = arithmetic.matmul_accumulator(data, weight)
    multipliers = np.full(2, multiplier, np.float32)
    arrays = [packing.pack_channels(array, 1, dot.lanes) for array in (np.zeros(2, np.int32), multipliers)]
    epilogue = Requantize(OUT, Conversion(row.converts_by, largest_rounded=2.0**31 * multiplier))
    define = partial(contraction.matmul, out_channels=2, dot=dot, epilogue=epilogue)
    result = run_kernel(define, [data, packing.pack_matmul(weight, dot.lanes, dot.depth), *arrays])
    np.testing.assert_array_equal(result, arithmetic.requantize(accumulator, multipliers, OUT))


@pytest.mark.parametrize("kind", ["requantize", "add", "dequantize"])
@pytest.mark.parametrize(
    ("lead", "inner", "channels"),
    [
        ((1,), 64, 10),
        ((5,), 31, 33),
        ((9,), 33, 7),
        ((17,), 8, 16),
        ((2, 3), 5, 9),
        ((2, 11), 130, 48),
        ((3, 2), 15, 33),
        ((1, 2), 33, 49),
        ((), 7, 5),
    ],
    ids=str,
)
def test_matmul(run_kernel, row, lead, inner, channels, kind):
    skip_repeated(row, kind)
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (*lead, inner)).astype(np.uint8).view(row.activation_dtype)
    weight = rng.integers(-127, 128, (inner, channels)).astype(np.int8)
    offset, multiplier = arrays_of(rng, inner, channels)
    accumulator = arithmetic.matmul_accumulator(data, weight) + offset
    residual = rng.integers(0, 256, accumulator.shape).astype(np.uint8)
    if kind == "add":
        multiplier = multiplier * np.float32(2**SHIFT)
    epilogue, expected = finish(row, kind, accumulator, multiplier, residual)
    dot = dot_of(row)
    packed = packing.pack_matmul(weight, dot.lanes, dot.depth)
    per_channel = [packing.pack_channels(array, 1, dot.lanes) for array in (offset, multiplier)]
    define = partial(contraction.matmul, out_channels=channels, dot=dot, epilogue=epilogue)
    operands = [residual] * epilogue.operands
    np.testing.assert_array_equal(run_kernel(define, [data, packed, *per_channel, *operands]), expected)


@pytest.mark.parametrize("threads", [2, 8])
def test_cut_up_for_threads(run_kernel, row, threads):
    """The same integers however many threads the work is cut up for, also where only channels can be shared."""
    rng = np.random.default_rng(0)
    dot = dot_of(row)
    for height, channels, out_channels in ((16, 16, 32), (1, 512, 160)):
        geometry = Conv2d((1, 1), (1, 1, 1, 1), (1, 1), 1, (3, 3), out_channels, ZERO_POINT)
        data = rng.integers(0, 256, (1, height, 7, channels)).astype(np.uint8).view(row.activation_dtype)
        weight = rng.integers(-127, 128, (out_channels, channels, 3, 3)).astype(np.int8)
        offset, multiplier = arrays_of(rng, channels * 9, out_channels)
        accumulator = offset + arithmetic.conv2d_accumulator(
            data, weight, (1, 1), (1, 1, 1, 1), (1, 1), 1, ZERO_POINT
        )
        expected = arithmetic.requantize(accumulator, multiplier, OUT)
        packed = packing.pack_conv2d(weight, 1, dot.lanes, dot.depth)
        per_channel = [packing.pack_channels(array, 1, dot.lanes) for array in (offset, multiplier)]
        define = partial(
            contraction.conv2d,
            geometry=geometry,
            dot=dot,
            epilogue=requantized(row),
        )
        result = run_kernel(define, [data, packed, *per_channel], threads=threads)
        np.testing.assert_array_equal(result, expected)


def test_nothing_saturates(run_kernel, row):
    """The largest products of one sign, which saturate in int16 where two are added there."""
    dot = dot_of(row)
    largest = np.iinfo(row.activation_dtype).max
    data = np.full((3, 64), largest, row.activation_dtype)
    weight = np.stack([np.full(64, 127), np.full(64, -128), np.tile([127, -128], 32)], axis=1).astype(np.int8)
    offset, multiplier = np.zeros(3, np.int32), np.ones(3, np.float32)
    packed = packing.pack_matmul(weight, dot.lanes, dot.depth)
    per_channel = [packing.pack_channels(array, 1, dot.lanes) for array in (offset, multiplier)]
    define = partial(contraction.matmul, out_channels=3, dot=dot, epilogue=Dequantize())
    expected = np.tile(np.float32([largest * 127 * 64, -largest * 128 * 64, -largest * 32]), (3, 1))
    np.testing.assert_array_equal(run_kernel(define, [data, packed, *per_channel]), expected)


def _at_the_limit(rng, inner, channels, steps):
    """Return int8 [K, N] whose weights that meet in a lane sum up to 128 by sign, in all kinds of ways."""
    meet = 2 * steps
    weight = np.zeros((inner // (4 * steps), steps, 2, 2, channels), np.int64)
    for group, lane, channel in np.ndindex(len(weight), 2, channels):
        shares = rng.multinomial(127, rng.dirichlet(np.full(meet, 0.3)))
        shares[rng.integers(meet)] += shares.max() < 127
        signs = rng.choice([-1, 1]) if channel % 2 else rng.choice([-1, 1], meet)
        weight[group, :, lane, :, channel] = (shares * signs).reshape(steps, 2)
    return weight.reshape(inner, channels).astype(np.int8)


def test_every_dot_product_of_the_row(run_kernel, row):
    """Each instruction equals its meaning, at the extremes of the weights that it is chosen for."""
    rng = np.random.default_rng(0)
    for choice in row.dots:
        dot = Dot(choice.lanes, choice.depth, choice.data_dtype, steps=choice.steps)
        channels, inner = 2 * dot.lanes + 1, 64
        data = rng.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (7, inner)).view(
            row.activation_dtype
        )
        if choice.lane_limit is None:
            weight = rng.choice(np.array([-128, -127, 0, 127], np.int8), (inner, channels))
        else:
            weight = _at_the_limit(rng, inner, channels, choice.steps)
            assert largest_sums(runs_of(weight, 1), choice.lane_sums).max() == choice.lane_limit
        accumulator = arithmetic.matmul_accumulator(data, weight)
        arrays = np.zeros(channels, np.int32), np.ones(channels, np.float32)
        packed = packing.pack_matmul(weight, dot.lanes, dot.depth)
        per_channel = [packing.pack_channels(array, 1, dot.lanes) for array in arrays]
        define = partial(contraction.matmul, out_channels=channels, dot=dot, epilogue=Dequantize())
        result = run_kernel(define, [data, packed, *per_channel])
        np.testing.assert_array_equal(result, accumulator.astype(np.float32))


def test_float_conv2d_and_matmul(run_kernel, row):
    """Float kernels sum in another order than NumPy: at most ``terms`` roundings of the sum of magnitudes."""
    rng = np.random.default_rng(0)
    lanes = row.vector_bits // 32
    dot = Dot(lanes, 1, "float32", "float32", weight_dtype="float32")
    geometry = Conv2d((2, 2), (1, 1, 1, 1), (1, 1), 1, (3, 3), 19)
    data = rng.standard_normal((1, 11, 13, 5)).astype(np.float32)
    weight = rng.standard_normal((19, 5, 3, 3)).astype(np.float32)
    define = partial(contraction.conv2d, geometry=geometry, dot=dot)
    result = run_kernel(define, [data, packing.pack_conv2d(weight, 1, lanes, 1)])
    padded = np.pad(data.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    expected = np.einsum("nhwcij,ocij->nhwo", windows, weight.astype(np.float64))
    magnitude = np.einsum("nhwcij,ocij->nhwo", abs(windows), abs(weight.astype(np.float64)))
    assert np.all(abs(result - expected) <= 45 * 2.0**-24 * magnitude)

    matrix = rng.standard_normal((13, 37)).astype(np.float32)
    factor = rng.standard_normal((37, 21)).astype(np.float32)
    define = partial(contraction.matmul, out_channels=21, dot=dot)
    result = run_kernel(define, [matrix, packing.pack_matmul(factor, lanes, 1)])
    wide = matrix.astype(np.float64), factor.astype(np.float64)
    assert np.all(abs(result - wide[0] @ wide[1]) <= 37 * 2.0**-24 * (abs(wide[0]) @ abs(wide[1])))
