"""Layout: where transposes remain, the same numbers, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.realize.layout import Layout

from ..qdq import Hub, run

SHAPE = (1, 6, 8, 10)
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((6, 6, 3, 3)).astype(np.float32)
IMAGE = RNG.standard_normal(SHAPE).astype(np.float32)


def conv(hub, x):
    return hub.emit(relax.op.nn.conv2d(x, relax.const(WEIGHT), padding=1))


def names(mod):
    return [op_name(binding.value) for binding in bindings_of(mod) if op_name(binding.value)]


def same_numbers(mod, laid_out):
    """Sums run in another order: at most 54 roundings of numbers below 100."""
    for result, expected in zip(run(laid_out, IMAGE), run(mod, IMAGE), strict=True):
        np.testing.assert_allclose(result, expected, atol=54 * 2.0**-24 * 100)


CHAINS = {
    "add and relu": lambda hub, x: hub.emit(relax.op.nn.relu(hub.emit(relax.op.add(x, x)))),
    "bias": lambda hub, x: hub.emit(
        relax.op.add(x, relax.const(np.arange(6, dtype=np.float32).reshape(6, 1, 1)))
    ),
    "scalar": lambda hub, x: hub.emit(relax.op.multiply(x, relax.const(np.float32(3)))),
    "max_pool2d": lambda hub, x: hub.emit(relax.op.nn.max_pool2d(x, (2, 2), (1, 1), (1, 0), ceil_mode=True)),
    "avg_pool2d": lambda hub, x: hub.emit(relax.op.nn.avg_pool2d(x, (3, 3), (1, 1), (1, 1))),
    "concat of two halves": lambda hub, x: hub.emit(
        relax.op.concat([hub.builder.emit(relax.TupleGetItem(halves(hub, x), i)) for i in (1, 0)], axis=1)
    ),
    "pad": lambda hub, x: hub.emit(relax.op.nn.pad(x, [0, 0, 0, 0, 1, 0, 2, 3])),
    "strided_slice": lambda hub, x: hub.emit(relax.op.strided_slice(x, [2, 3], [1, 0], [8, 10], [2, 3])),
    "resize2d": lambda hub, x: hub.emit(relax.op.image.resize2d(x, (16, 20), method="nearest_neighbor")),
    "pair": lambda hub, x: hub.pair(x, 0.05, 100),
    "mean": lambda hub, x: hub.emit(relax.op.mean(x, [2, 3], keepdims=True)),
}


def halves(hub, x):
    return hub.builder.emit(relax.op.split(x, 2, axis=1))


@pytest.mark.parametrize("name", CHAINS)
def test_no_transpose_between_convolutions(name):
    def define(hub):
        x = CHAINS[name](hub, conv(hub, hub.params["x"]))
        return conv(hub, x)

    mod = Hub(x=(SHAPE, "float32")).module(define)
    laid_out = Layout()(mod)
    found = names(laid_out)
    border = [index for index, found_name in enumerate(found) if found_name == "relax.permute_dims"]
    assert len(border) <= 2 and all(index in (0, len(found) - 1) for index in border)
    same_numbers(mod, laid_out)


def test_a_quantized_channel_axis_moves_along():
    scale = relax.const(np.linspace(0.01, 0.06, 6).astype(np.float32))
    zeros = relax.const(np.zeros(6, np.int8))

    def define(hub):
        x = conv(hub, hub.params["x"])
        q = hub.emit(relax.op.quantize(x, scale, zeros, axis=1, out_dtype="int8"))
        return conv(hub, hub.emit(relax.op.dequantize(q, scale, zeros, axis=1)))

    mod = Hub(x=(SHAPE, "float32")).module(define)
    laid_out = Layout()(mod)
    axes = [
        int(binding.value.attrs.axis)
        for binding in bindings_of(laid_out)
        if op_name(binding.value) in ("relax.quantize", "relax.dequantize")
    ]
    assert axes == [3, 3]
    same_numbers(mod, laid_out)


def test_an_image_of_one_pixel_is_reshaped_not_transposed():
    def define(hub):
        x = hub.emit(relax.op.mean(conv(hub, hub.params["x"]), [2, 3], keepdims=True))
        return hub.emit(relax.op.reshape(x, (1, 6)))

    mod = Hub(x=(SHAPE, "float32")).module(define)
    laid_out = Layout()(mod)
    assert names(laid_out).count("relax.permute_dims") == 1  # the input's
    same_numbers(mod, laid_out)


def test_flattening_an_image_keeps_the_order_of_its_elements():
    def define(hub):
        return hub.emit(relax.op.reshape(conv(hub, hub.params["x"]), (1, 480)))

    mod = Hub(x=(SHAPE, "float32")).module(define)
    same_numbers(mod, Layout()(mod))


def test_four_dimensions_without_an_image_are_left_alone():
    def define(hub):
        x = hub.params["x"]
        y = hub.emit(relax.op.matmul(x, hub.emit(relax.op.permute_dims(x, [0, 1, 3, 2]))))
        return hub.emit(relax.op.nn.softmax(y))

    mod = Hub(x=(SHAPE, "float32")).module(define)
    assert names(Layout()(mod)) == names(mod)


def test_running_it_twice_changes_nothing():
    mod = Layout()(Hub(x=(SHAPE, "float32")).module(lambda hub: conv(hub, hub.params["x"])))
    assert names(Layout()(mod)) == names(mod)


def test_a_transpose_to_nhwc_is_the_value_before_the_one_from_there():
    def define(hub):
        image = hub.emit(relax.op.permute_dims(conv(hub, hub.params["x"]), [0, 2, 3, 1]))
        again = hub.emit(relax.op.permute_dims(hub.emit(relax.op.nn.relu(image)), [0, 3, 1, 2]))
        return conv(hub, again)

    mod = Layout()(Hub(x=(SHAPE, "float32")).module(define))
    assert names(mod) == [
        f"relax.{name}" for name in ("permute_dims", "nn.conv2d", "nn.relu", "nn.conv2d", "permute_dims")
    ]
