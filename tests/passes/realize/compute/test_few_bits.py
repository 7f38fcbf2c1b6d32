"""Kernels of weights of few bits equal the NumPy reference: packed in memory, added up in narrow dtypes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tvmq.passes.hub import arithmetic, packing
from tvmq.passes.hub.parameters import weight_limits
from tvmq.passes.realize.compute import contraction
from tvmq.passes.realize.compute.contraction import Conv2d
from tvmq.passes.realize.compute.dots import Dot, Narrow, possible_steps, split_taps
from tvmq.passes.realize.compute.epilogue import Dequantize
from tvmq.passes.realize.realizers.dots import lay_out
from tvmq.passes.realize.realizers.weights import Weight
from tvmq.targets.rows import ROWS

from .conftest import in_turn

EMULATED = False
ZERO_POINT = 7


def arrays_of(channels):
    return np.zeros(channels, np.int32), np.ones(channels, np.float32)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_planes_hold_what_was_packed(bits, steps):
    low, high = weight_limits(bits)
    weight = np.random.default_rng(0).integers(low, high + 1, (3, steps, 8, 4)).astype(np.int8)
    packed = packing.pack_planes(weight, bits)
    planes = 8 // bits
    assert packed.shape == (3, -(-steps // planes), 8, 4) and packed.dtype == np.uint8
    for step in range(steps):
        word = packed[:, step // planes] >> (bits * (step % planes)) & (2**bits - 1)
        np.testing.assert_array_equal(word.astype(np.int8) - packing.bias_of(bits), weight[:, step])


def test_steps_that_can_be_taken_together():
    assert possible_steps((3, 3, 16), 48) == [48, 16, 8, 4, 2, 1]
    assert possible_steps((3, 3, 5), 20) == [15, 5, 1]
    assert possible_steps((7,), 6) == [1]
    assert split_taps((3, 3, 16), 48) == ([3, 1, 1], [1, 3, 16])
    assert split_taps((3, 3, 16), 8) == ([3, 3, 2], [1, 1, 8])


# batch, height, width, in, out, kernel, stride, padding, dilation, groups
CONVOLUTIONS = [
    (1, 7, 7, 16, 16, 3, 1, 1, 1, 1),
    (1, 9, 11, 32, 40, 3, 2, 1, 1, 1),
    (2, 6, 13, 20, 9, 3, 1, 1, 1, 1),
    (1, 12, 12, 36, 24, 3, 1, 2, 2, 1),
    (1, 10, 10, 24, 36, 3, 1, 1, 1, 3),
    (1, 8, 9, 3, 8, 5, 1, 2, 1, 1),
    (1, 14, 14, 64, 17, 1, 1, 0, 1, 1),
]


def bounds_of(row, largest=255):
    """Return what activations are that a row stores, of so many values."""
    low = np.iinfo(row.activation_dtype).min
    return (0, largest) if low == 0 else (low, low + largest)


@pytest.mark.parametrize(
    ("case", "form", "zero_point"),
    in_turn(CONVOLUTIONS, [(4, 255), (4, 15), (2, 255)], [0, ZERO_POINT]),
    ids=lambda part: "-".join(map(str, part)) if isinstance(part, tuple) else None,
)
def test_conv2d(run_kernel, row, case, form, zero_point):
    bits, largest = form
    batch, height, width, channels, out_channels, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(0)
    geometry = Conv2d(
        *((stride, stride), (padding,) * 4, (dilation, dilation), groups, (kernel, kernel)),
        out_channels,
        zero_point,
    )
    low, high = bounds_of(row, largest)
    data = rng.choice(np.array([low, low + 1, high - 1, high]), (batch, height, width, channels))
    data = data.astype(row.activation_dtype)
    low, high = weight_limits(bits)
    weight = rng.integers(low, high + 1, (out_channels, channels // groups, kernel, kernel)).astype(np.int8)
    merged = groups == 1 and packing.merges_columns(weight.shape[1:], 4, dilation)
    ordered = packing.merge_columns(weight) if merged else weight
    layout = lay_out(
        *(row, Weight(weight, np.ones(out_channels), 0), partial(packing.pack_conv2d, ordered, groups)),
        *(lambda depth: geometry.taps(channels, depth, merged), merged, bounds_of(row, largest)),
    )
    assert layout.weights.dtype == np.uint8 and layout.dot.weight_bits == bits
    accumulator = arithmetic.conv2d_accumulator(
        *(data, weight, geometry.strides, geometry.padding, geometry.dilation, groups, zero_point)
    )
    per_channel = [
        packing.pack_channels(array, groups, layout.dot.lanes) for array in arrays_of(out_channels)
    ]
    define = partial(
        contraction.conv2d, geometry=geometry, dot=layout.dot, merged=merged, epilogue=Dequantize()
    )
    result = run_kernel(define, [data, layout.weights, *per_channel])
    np.testing.assert_array_equal(result.reshape(accumulator.shape), accumulator.astype(np.float32))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize(
    ("rows", "inner", "channels"), [(1, 64, 33), (1, 37, 16), (5, 256, 40), (21, 96, 24)]
)
def test_matmul(run_kernel, row, rows, inner, channels, bits):
    """A few rows unpack weights in registers, more of them once for all."""
    rng = np.random.default_rng(0)
    data = rng.choice(np.array([0, 1, 127, 128, 255], np.uint8), (rows, inner)).view(row.activation_dtype)
    low, high = weight_limits(bits)
    weight = rng.choice(np.array([low, high], np.int8), (inner, channels))
    layout = lay_out(
        *(row, Weight(weight, np.ones(channels), 1), partial(packing.pack_matmul, weight)),
        *(lambda depth: (packing.ceil_div(inner, depth),), False, bounds_of(row)),
        rows=rows,
    )
    assert bool(layout.dot.words) == (rows <= row.few_rows)
    per_channel = [packing.pack_channels(array, 1, layout.dot.lanes) for array in arrays_of(channels)]
    define = partial(contraction.matmul, out_channels=channels, dot=layout.dot, epilogue=Dequantize())
    result = run_kernel(define, [data, layout.weights, *per_channel])
    np.testing.assert_array_equal(result, arithmetic.matmul_accumulator(data, weight).astype(np.float32))


@pytest.mark.parametrize("row", [row for row in ROWS if row.narrow_dot], ids=lambda row: row.name)
def test_narrow_sums_are_as_long_as_the_weights_and_the_activations_allow(row):
    own = row.narrow_dot

    def steps(weight, largest):
        layout = lay_out(
            *(row, Weight(weight, np.ones(weight.shape[1]), 1), partial(packing.pack_matmul, weight)),
            *(lambda depth: (packing.ceil_div(weight.shape[0], depth),), False, bounds_of(row, largest)),
        )
        return layout.dot.narrow.steps if layout.dot.narrow else None

    terms = own.depth // own.parts
    for value, largest in ((-8, 255), (7, 255), (-8, 15), (-2, 255), (1, 255)):
        weight = np.full((32 * own.depth, 3), value, np.int8)
        most = 32767 // (abs(value) * max(map(abs, bounds_of(row, largest))) * terms)
        assert steps(weight, largest) == max(count for count in (32, 16, 8) if count <= most)
    most = 32767 // (127 * max(map(abs, bounds_of(row))) * terms)
    assert steps(np.full((32 * own.depth, 3), -127, np.int8), 255) == (
        most if most >= own.fewest_steps else None
    )


def test_narrow_sums_at_their_limit(run_kernel, row):
    """The largest sums that the weights' limit allows, of both signs."""
    own = row.narrow_dot
    if own is None:
        pytest.skip("the row has no narrow sums")
    low, high = bounds_of(row)
    steps = 32767 // (max(high, -low) * 8 * (own.depth // own.parts))
    inner = 2 * steps * own.depth
    weight = np.tile(np.array([-8, 7], np.int8), (inner, own.lanes))
    data = np.repeat(np.array([[low], [high]], row.activation_dtype), inner, axis=1)
    layout = lay_out(
        *(row, Weight(weight, np.ones(weight.shape[1]), 1), partial(packing.pack_matmul, weight)),
        *(lambda depth: (inner // depth,), False, (low, high)),
    )
    assert layout.dot.narrow == Narrow(own.dtype, own.parts, steps)
    per_channel = [packing.pack_channels(array, 1, own.lanes) for array in arrays_of(weight.shape[1])]
    define = partial(contraction.matmul, out_channels=weight.shape[1], dot=layout.dot, epilogue=Dequantize())
    result = run_kernel(define, [data, layout.weights, *per_channel])
    np.testing.assert_array_equal(result, arithmetic.matmul_accumulator(data, weight).astype(np.float32))


def test_a_dot_says_how_many_steps_a_word_has():
    assert [Dot(8, 4, "uint8", weight_bits=bits).planes for bits in (2, 4, 8)] == [4, 2, 1]
