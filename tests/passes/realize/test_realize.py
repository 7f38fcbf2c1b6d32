"""Realize: the structure that it makes, its integers, and what it leaves in float."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.arithmetic import Addend, Output
from tvmq.passes.hub.layers import get_layers
from tvmq.schedules.pipeline import to_kernels
from tvmq.targets.parse import parse_target
from tvmq.targets.rows import ROWS

from ..qdq import ROW, Hub, kernels, realize, run

F32 = np.float32
HOST = parse_target("llvm")
SHAPE = (1, 5, 6, 8)


def image(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-2, 3, shape).astype(F32)


def weights(shape, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, shape).astype(np.int8), rng.uniform(0.001, 0.02, shape[0]).astype(F32)


def conv(hub, data, values, scale, **attrs):
    attrs = {"padding": 1, "data_layout": "NHWC", "kernel_layout": "OIHW", **attrs}
    return hub.emit(relax.op.nn.conv2d(data, hub.weight(values, scale, 0), **attrs), "conv")


def quantized_image(data, scale=0.02, zero_point=100):
    return arithmetic.quantize(data, F32(scale), np.uint8(zero_point), "uint8")


def accumulator(data, values, bias_int, zero_point=100, padding=1):
    offset = bias_int - zero_point * values.astype(np.int64).sum(axis=(1, 2, 3))
    total = arithmetic.conv2d_accumulator(data, values, (1, 1), (padding,) * 4, (1, 1), 1, zero_point)
    return (total + offset).astype(np.int32)


def test_convolution_with_bias_and_relu():
    values, scale = weights((4, 8, 3, 3))
    bias = np.random.default_rng(2).uniform(-1, 1, 4).astype(F32)

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        y = hub.emit(relax.op.add(conv(hub, x, values, scale), relax.const(bias.reshape(1, 1, 1, 4))), "bias")
        return hub.pair(hub.emit(relax.op.nn.relu(y), "relu"), 0.05, 3)

    realized = realize(Hub(x=(SHAPE, "float32")).module(define))
    assert kernels(realized) == ["quantize", "qconv2d_3x3", "dequantize"]
    data = image()
    bias_int = np.rint(bias.astype(np.float64) / (float(F32(0.02)) * scale.astype(np.float64))).astype(
        np.int64
    )
    multiplier = (float(F32(0.02)) * scale.astype(np.float64) / float(F32(0.05))).astype(F32)
    total = accumulator(quantized_image(data), values, bias_int)
    expected = arithmetic.requantize(total, multiplier, Output("uint8", 3, 3, 255))
    (result,) = run(realized, data)
    np.testing.assert_array_equal(result, arithmetic.dequantize(expected, F32(0.05), np.uint8(3)))
    records = {layer.name: layer for layer in get_layers(realized)}
    assert records["conv"].status == "int8" and records["conv"].details["weight_bytes"] == values.size
    assert records["relu"].details == {"fused_into": "conv"}


def test_residual_addition_is_part_of_the_convolution():
    values, scale = weights((8, 8, 3, 3))

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        y = hub.emit(relax.op.add(x, conv(hub, x, values, scale)), "add")
        return hub.pair(y, 0.06, 90)

    realized = realize(Hub(x=(SHAPE, "float32")).module(define))
    assert kernels(realized) == ["quantize", "qconv2d_3x3", "dequantize"]
    data = image()
    (ratio,), shift = arithmetic.fixed_point([float(F32(0.02)) / float(F32(0.06))])
    steps = float(F32(0.02)) * scale.astype(np.float64) / float(F32(0.06)) * 2.0**shift
    integers = quantized_image(data)
    total = arithmetic.scale_accumulator(accumulator(integers, values, 0), steps.astype(F32))
    total = total + arithmetic.weigh(integers, Addend(100, ratio))
    expected = arithmetic.shift_to(total, shift, Output("uint8", 90, 0, 255))
    (result,) = run(realized, data)
    np.testing.assert_array_equal(result, arithmetic.dequantize(expected, F32(0.06), np.uint8(90)))


def test_last_layer_gives_float_from_its_accumulator():
    values, scale = weights((5, 8, 1, 1))
    matrix = np.ascontiguousarray(values[:, :, 0, 0].T)

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.emit(relax.op.matmul(x, hub.weight(matrix, scale, 1)), "dense")

    realized = realize(Hub(x=((3, 8), "float32")).module(define))
    assert kernels(realized) == ["quantize", "qmatmul"] or "dequantize" not in kernels(realized)
    data = image((3, 8))
    offset = -100 * matrix.astype(np.int64).sum(axis=0)
    total = (quantized_image(data).astype(np.int64) @ matrix.astype(np.int64) + offset).astype(np.int32)
    expected = total.astype(F32) * (float(F32(0.02)) * scale.astype(np.float64)).astype(F32)
    np.testing.assert_array_equal(run(realized, data)[0], expected)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_depthwise_convolution_behind_another_is_a_kernel_of_its_own(row):
    """Where products are added in int16 its sum has no loop: TVM would take it for a function that it can inline."""
    values, scale = weights((8, 1, 3, 3))

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 0)
        x = hub.pair(conv(hub, x, values, scale, groups=8), 0.05, 0)
        return hub.pair(conv(hub, x, values, scale, groups=8), 0.05, 0)

    _, found = to_kernels(realize(Hub(x=(SHAPE, "float32")).module(define), row), HOST, row)
    assert [name.count("depthwise") for name, _ in found if "depthwise" in name] == [1, 1]


def hard_swish(hub, x):
    half = hub.emit(relax.op.add(hub.emit(relax.op.divide(x, relax.const(F32(6)))), relax.const(F32(0.5))))
    return hub.emit(relax.op.multiply(x, hub.emit(relax.op.clip(half, 0, 1))))


ELEMENTWISE = {
    "add": (lambda hub, x, y: hub.emit(relax.op.add(x, y)), ["qadd"]),
    "subtract": (lambda hub, x, y: hub.emit(relax.op.subtract(x, y)), ["qadd"]),
    "add and relu": (lambda hub, x, y: hub.emit(relax.op.nn.relu(hub.emit(relax.op.add(x, y)))), ["qadd"]),
    "multiply": (lambda hub, x, y: hub.emit(relax.op.multiply(x, y)), ["qmultiply"]),
    "sigmoid": (lambda hub, x, y: hub.emit(relax.op.sigmoid(x)), ["qtable"]),
    "tanh": (lambda hub, x, y: hub.emit(relax.op.tanh(x)), ["qtable"]),
    "hard swish": (lambda hub, x, y: hard_swish(hub, x), ["qtable"]),
    "new scale": (lambda hub, x, y: x, ["qtable"]),
    "concat": (lambda hub, x, y: hub.emit(relax.op.concat([x, y], 3)), ["qtable", "qtable", "relax.concat"]),
    "average": (lambda hub, x, y: hub.emit(relax.op.mean(x, [1, 2], True)), ["qaverage_pool2d"]),
    "mean without its axes": (
        lambda hub, x, y: hub.emit(relax.op.mean(x, [1, 2])),
        ["qaverage_pool2d", "relax.reshape"],
    ),
    "average pool": (
        lambda hub, x, y: hub.emit(
            relax.op.nn.avg_pool2d(x, (3, 3), (2, 2), (1, 1), layout="NHWC", count_include_pad=False)
        ),
        ["qaverage_pool2d"],
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operators_agree_with_the_simulation(name):
    """At most one step from the Q/DQ graph, which rounds more often, and in float32."""
    make, expected_kernels = ELEMENTWISE[name]

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        y = hub.pair(hub.params["y"], 0.013, 140)
        return hub.pair(make(hub, x, y), 0.03, 120)

    mod = Hub(x=(SHAPE, "float32"), y=(SHAPE, "float32")).module(define)
    realized = realize(mod)
    inner = [kernel for kernel in kernels(realized) if kernel not in ("quantize", "dequantize")]
    assert inner == expected_kernels
    arrays = image(), image(seed=3)
    (simulated,), (result,) = run(mod, *arrays), run(realized, *arrays)
    steps = np.rint((result - simulated) / F32(0.03))
    assert abs(steps).max() <= 1
    assert np.ptp(result) > 0.1


def test_a_second_pair_is_a_table():
    """8 bits for the sum, and 4 of them for the convolution: the integers of the formula, none in float between."""
    values, scale = weights((8, 8, 1, 1))

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        few = hub.pair(hub.emit(relax.op.clip(x, -7 * 0.3, 8 * 0.3)), 0.3, 7)
        y = hub.emit(relax.op.add(x, conv(hub, few, values, scale, padding=0)), "add")
        return hub.pair(y, 0.06, 90)

    realized = realize(Hub(x=(SHAPE, "float32")).module(define))
    assert kernels(realized) == ["quantize", "qtable", "qconv2d_1x1", "dequantize"]
    data = image()
    integers = quantized_image(data)
    restored = arithmetic.dequantize(integers, F32(0.02), np.uint8(100))
    few = arithmetic.quantize(np.clip(restored, F32(-2.1), F32(2.4)), F32(0.3), np.uint8(7), "uint8")
    assert (few.min(), few.max()) == (0, 15)
    (ratio,), shift = arithmetic.fixed_point([float(F32(0.02)) / float(F32(0.06))])
    steps = float(F32(0.3)) * scale.astype(np.float64) / float(F32(0.06)) * 2.0**shift
    total = arithmetic.scale_accumulator(accumulator(few, values, 0, 7, padding=0), steps.astype(F32))
    total = total + arithmetic.weigh(integers, Addend(100, ratio))
    expected = arithmetic.shift_to(total, shift, Output("uint8", 90, 0, 255))
    (result,) = run(realized, data)
    np.testing.assert_array_equal(result, arithmetic.dequantize(expected, F32(0.06), np.uint8(90)))


MOVES = {
    "max_pool2d": lambda x: relax.op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1), layout="NHWC"),
    "reshape": lambda x: relax.op.reshape(x, (5, 48)),
    "permute_dims": lambda x: relax.op.permute_dims(x, [0, 3, 1, 2]),
    "strided_slice": lambda x: relax.op.strided_slice(x, [1, 2], [1, 0], [5, 6], [2, 3]),
    "pad": lambda x: relax.op.nn.pad(x, [0, 0, 1, 1, 2, 0, 0, 3]),
    "resize2d": lambda x: relax.op.image.resize2d(
        x,
        (10, 12),
        layout="NHWC",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    ),
    "expand_dims": lambda x: relax.op.expand_dims(x, 0),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_run_on_the_integers(name):
    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.emit(MOVES[name](x), "move")

    mod = Hub(x=(SHAPE, "float32")).module(define)
    realized = realize(mod)
    assert kernels(realized)[0] == "quantize" and kernels(realized)[-1] == "dequantize"
    np.testing.assert_array_equal(run(realized, image())[0], run(mod, image())[0])


def test_split_runs_on_the_integers():
    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        parts = hub.builder.emit(relax.op.split(x, 2, 3))
        return [hub.builder.emit(relax.TupleGetItem(parts, index)) for index in (1, 0)]

    mod = Hub(x=(SHAPE, "float32")).module(define)
    assert kernels(realize(mod)).count("dequantize") == 2
    for result, expected in zip(run(realize(mod), image()), run(mod, image()), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_padding_with_a_value_between_the_steps_stays_float():
    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.emit(relax.op.nn.pad(x, [0, 0, 1, 1, 0, 0, 0, 0], "constant", 0.5123), "pad")

    mod = Hub(x=(SHAPE, "float32")).module(define)
    realized = realize(mod)
    assert kernels(realized)[-1] == "relax.nn.pad"
    (record,) = [layer for layer in get_layers(realized) if layer.name == "pad"]
    assert record.status == "float" and "no integer form" in record.reason
    np.testing.assert_array_equal(run(realized, image())[0], run(mod, image())[0])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_integers_at_the_border_keep_their_dtype(row):
    """int8 in and out, whatever the target stores."""

    def define(hub):
        x = hub.dequantize(hub.params["x"], 0.02, -5, "int8")
        return hub.quantize(hub.emit(relax.op.sigmoid(x)), 1 / 256, -128, "int8")

    mod = Hub(x=((1, 256), "int8")).module(define)
    realized = realize(mod, row)
    data = np.arange(-128, 128).astype(np.int8).reshape(1, 256)
    (result,) = run(realized, data)
    assert result.dtype == np.int8
    np.testing.assert_array_equal(result, run(mod, data)[0])


def test_identical_parameters_need_no_kernel():
    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.pair(hub.emit(relax.op.reshape(x, (5, 48))), 0.02, 100)

    assert kernels(realize(Hub(x=(SHAPE, "float32")).module(define))) == [
        "quantize",
        "relax.reshape",
        "dequantize",
    ]


def refused(define, layer="conv"):
    """Return why the layer stays float."""
    realized = realize(Hub(x=(SHAPE, "float32")).module(define))
    (record,) = [found for found in get_layers(realized) if found.name == layer]
    assert record.status == "float"
    return record.reason


def test_float_weights_stay_float():
    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.emit(
            relax.op.nn.conv2d(
                x, relax.const(np.ones((4, 8, 1, 1), F32)), data_layout="NHWC", kernel_layout="OIHW"
            ),
            "conv",
        )

    assert "weight is not quantized" in refused(define)


def test_a_pair_of_one_scale_and_several_zero_points_stays_float():
    def define(hub):
        data = hub.emit(
            relax.op.quantize(hub.params["x"], relax.const(F32(0.1)), relax.const(np.uint8(128)), 3, "uint8")
        )
        zeros = relax.const(np.zeros(SHAPE[3], np.int8))
        return hub.emit(relax.op.dequantize(data, relax.const(F32(0.1)), zeros, 3))

    assert "relax.dequantize" in kernels(realize(Hub(x=(SHAPE, "float32")).module(define)))


def test_asymmetric_weights_beyond_nine_bits_stay_float():
    """No one number takes them all into int8: they are 255 in some channels, and -255 in others."""

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        values, zeros = np.zeros((4, 8, 1, 1), np.uint8), np.array([0, 0, 255, 255])
        values[:2] = 255
        weight = hub.weight(values, np.ones(4, F32), 0, zero_point=zeros)
        return hub.emit(relax.op.nn.conv2d(x, weight, data_layout="NHWC", kernel_layout="OIHW"), "conv")

    assert "zero point" in refused(define)


def test_sums_that_leave_int32_stay_float():
    values = np.full((1, 70000), 127, np.int8)

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.emit(relax.op.matmul(x, hub.weight(values.T.copy(), np.ones(1, F32), 1)), "dense")

    realized = realize(Hub(x=((1, 70000), "float32")).module(define))
    (record,) = [layer for layer in get_layers(realized) if layer.name == "dense"]
    assert (record.status, record.reason) == ("float", "its sums can leave int32")


def test_a_convolution_in_a_layout_of_its_own_stays_float():
    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        values, scale = weights((1, 1, SHAPE[3], 4))
        weight = hub.weight(values, scale[:1], 3)
        call = relax.op.nn.conv2d(x, weight, data_layout="NHWC", kernel_layout="HWIO", out_layout="NHWC")
        return hub.emit(call, "conv")

    assert refused(define) == "its layout is NHWC, HWIO; NHWC, OIHW has a kernel"


def test_a_channel_with_hardly_any_weight_keeps_its_bias():
    """Its scale is so small that the bias would need 60 bits."""
    values, scale = weights((4, 8, 3, 3))
    scale[1], scale[2] = F32(1e-18), F32(1.0)
    values[2] = 0
    bias = np.array([0.5, 1.5, -0.7, 0.0], F32)

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        return hub.emit(
            relax.op.add(conv(hub, x, values, scale), relax.const(bias.reshape(1, 1, 1, 4))), "bias"
        )

    mod = Hub(x=(SHAPE, "float32")).module(define)
    (result,) = run(realize(mod), image())
    np.testing.assert_allclose(result[..., 1], 1.5, rtol=1e-6)
    np.testing.assert_allclose(result[..., 2], -0.7, rtol=1e-6)


def test_a_value_read_as_integers_and_as_float_is_both():
    values, scale = weights((8, 8, 3, 3))

    def define(hub):
        x = hub.pair(hub.params["x"], 0.02, 100)
        y = hub.pair(conv(hub, x, values, scale), 0.05, 128)
        z = hub.pair(hub.emit(relax.op.sigmoid(y)), 1 / 256, 0)
        return [z, hub.emit(relax.op.nn.softmax(y), "softmax")]

    mod = Hub(x=(SHAPE, "float32")).module(define)
    realized = realize(mod)
    assert kernels(realized).count("qconv2d_3x3") == 1
    for result, expected in zip(run(realized, image()), run(mod, image()), strict=True):
        # One step of y moves a probability by at most 0.05 / 4.
        np.testing.assert_allclose(result, expected, atol=0.0125 + 1 / 256)
    (record,) = [layer for layer in get_layers(realized) if layer.name == "softmax"]
    assert record.status == "float" and "softmax" in record.reason


def test_row_of_the_tests_has_no_instruction():
    assert [dot.intrinsic for dot in ROW.dots] == [None]


def test_a_convolution_of_few_pixels_with_few_bits_is_a_product():
    """Its kernel reads packed weights as they lie; with 8 bits, strides or more pixels it stays a convolution."""
    rng = np.random.default_rng(0)
    data = image((1, 1, 2, 8))

    def realized(low, high, shape=(1, 1, 2, 8), **attrs):
        values, scale = rng.integers(low, high + 1, (6, 8, 1, 1)).astype(np.int8), np.full(6, 0.01, F32)

        def define(hub):
            x = hub.pair(hub.params["x"], 0.02, 100)
            return hub.pair(conv(hub, x, values, scale, padding=0, **attrs), 0.05, 128)

        return realize(Hub(x=(shape, "float32")).module(define)), values

    few, values = realized(-8, 7)
    assert [name for name in kernels(few) if "reshape" not in name] == ["quantize", "qmatmul", "dequantize"]
    total = accumulator(quantized_image(data), values, 0, padding=0)
    multiplier = np.full(6, float(F32(0.02)) * float(F32(0.01)) / float(F32(0.05)), F32)
    integers = arithmetic.requantize(total, multiplier, Output("uint8", 128, 0, 255))
    np.testing.assert_array_equal(run(few, data)[0], arithmetic.dequantize(integers, F32(0.05), 128))
    for other in (realized(-127, 127), realized(-8, 7, (1, 9, 9, 8)), realized(-8, 7, strides=2)):
        assert kernels(other[0])[1] == "qconv2d_1x1"


def test_a_product_of_few_rows_stays_float():
    def define(hub):
        query = hub.pair(hub.params["q"], 0.02, 100)
        return hub.emit(relax.op.matmul(query, hub.pair(hub.params["k"], 0.03, 77)), "scores")

    realized = realize(Hub(q=((2, 1, 7), "float32"), k=((2, 7, 9), "float32")).module(define))
    assert "matmul" in kernels(realized)[-1] and "qmatmul" not in kernels(realized)
    assert {layer.name: layer.status for layer in get_layers(realized)}["scores"] == "float"


def test_product_of_two_activations():
    def define(hub):
        queries = hub.pair(hub.params["q"], 0.02, 100)
        keys = hub.pair(hub.params["k"], 0.03, 77)
        return hub.emit(relax.op.matmul(queries, keys), "scores")

    realized = realize(Hub(q=((2, 5, 7), "float32"), k=((2, 7, 9), "float32")).module(define))
    assert kernels(realized) == ["quantize", "quantize", "offsets", "offsets", "qmatmul"]
    queries, keys = image((2, 5, 7)), image((2, 7, 9), seed=1)
    integers = [
        arithmetic.quantize(array, F32(scale), np.uint8(zero), "uint8").astype(np.int16) - zero
        for array, scale, zero in ((queries, 0.02, 100), (keys, 0.03, 77))
    ]
    multiplier = F32(float(F32(0.02)) * float(F32(0.03)))
    expected = arithmetic.matmul_accumulator(*integers).astype(F32) * multiplier
    np.testing.assert_array_equal(run(realized, queries, keys)[0], expected)
    assert {layer.name: layer.status for layer in get_layers(realized)}["scores"] == "int8"
