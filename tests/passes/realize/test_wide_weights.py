"""Weights whose zero point takes them beyond int8: the integers are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te

import tvmq
from tests.frontends.nodes import one_node
from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.arithmetic import Output
from tvmq.passes.realize.compute.row_sums import row_sums
from tvmq.passes.realize.realizers.weights import Weight

F32 = np.float32


def bytes_of(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def status_of(package: tvmq.Package) -> str:
    return package.metadata["layers"][0]["status"]


def requantized(total: np.ndarray, bias: np.ndarray, scales: tuple[float, ...]) -> np.ndarray:
    data, weight, out = (float(F32(scale)) for scale in scales)
    multiplier = F32(data * weight / out)
    return arithmetic.requantize((total + bias).astype(np.int32), multiplier, Output("uint8", 128, 0, 255))


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "groups", "attributes"),
    [
        (16, 24, 1, 1, {}),
        (9, 5, 3, 1, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        (3, 8, 3, 1, {"pads": [0, 1, 2, 1]}),
        (12, 12, 3, 12, {"pads": [1, 1, 1, 1]}),
        (12, 12, 3, 12, {"strides": [2, 1]}),
    ],
)
def test_convolutions(channels: int, outputs: int, kernel: int, groups: int, attributes: dict):
    data = bytes_of(1, channels, 9, 7)
    weight = bytes_of(outputs, channels // groups, kernel, kernel, seed=1)
    weight.reshape(-1)[:2] = 0, 255
    bias = np.random.default_rng(2).integers(-3000, 3000, outputs).astype(np.int32)
    scales, zero_points = (0.02, 0.01, 0.5 if kernel > 1 else 0.2), (100, 118)
    model, fed = one_node(
        "QLinearConv",
        *(data, F32(scales[0]), np.uint8(zero_points[0]), weight, F32(scales[1]), np.uint8(zero_points[1])),
        *(F32(scales[2]), np.uint8(128), bias),
        constants=range(1, 9),
        group=groups,
        **attributes,
    )
    package = tvmq.compile(model)
    (got,) = package.run(fed).values()
    centred = weight.astype(np.int16) - zero_points[1]
    strides = tuple(attributes.get("strides", (1, 1)))
    padding = tuple(attributes.get("pads", (0, 0, 0, 0)))
    shifted = data.transpose(0, 2, 3, 1).astype(np.int16) - zero_points[0]
    total = arithmetic.conv2d_accumulator(shifted, centred, strides, padding, (1, 1), groups, 0)
    np.testing.assert_array_equal(got, requantized(total, bias, scales).transpose(0, 3, 1, 2))
    assert status_of(package) == "int8"


@pytest.mark.parametrize(("rows", "depth", "outputs"), [(1, 33, 10), (7, 64, 24), (3, 5, 1)])
def test_products(rows: int, depth: int, outputs: int):
    data, weight = bytes_of(rows, depth), bytes_of(depth, outputs, seed=1)
    weight.reshape(-1)[:2] = 0, 255
    model, fed = one_node(
        "QLinearMatMul",
        *(data, F32(0.02), np.uint8(90), weight, F32(0.01), np.uint8(140), F32(0.1), np.uint8(128)),
        constants=range(1, 8),
    )
    package = tvmq.compile(model)
    (got,) = package.run(fed).values()
    total = (data.astype(np.int64) - 90) @ (weight.astype(np.int64) - 140)
    np.testing.assert_array_equal(got, requantized(total, np.zeros(outputs, np.int32), (0.02, 0.01, 0.1)))
    assert status_of(package) == "int8"


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("inner", [3, 8, 9, 16, 31, 33, 100, 5000])
@pytest.mark.parametrize("lanes", [16, None])
def test_sums_of_rows(dtype: str, inner: int, lanes: int | None):
    info = np.iinfo(dtype)
    data = np.random.default_rng(inner).integers(info.min, info.max + 1, (2, 3, inner)).astype(dtype)
    data[0, 0] = info.max  # as large as the sums can be
    data[0, 1] = info.min
    given = te.placeholder(data.shape, dtype)
    function = te.create_prim_func([given, row_sums(given, factor=-5, lanes=lanes)])
    built = tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), "llvm")
    result = tvm.runtime.tensor(np.zeros((2, 3), np.int32))
    built["main"](tvm.runtime.tensor(data), result)
    np.testing.assert_array_equal(result.numpy(), -5 * data.astype(np.int64).sum(axis=-1))


@pytest.mark.parametrize(
    ("low", "high", "shift"), [(-128, 127, 0), (-120, 135, 8), (-150, 90, -22), (-129, 126, -1)]
)
def test_what_is_taken_off_is_as_little_as_can_be(low: int, high: int, shift: int):
    values = np.array([[low, high], [0, 5]], np.int16)
    narrow, taken = Weight(values, np.ones(2), 0).split()
    assert taken == shift and narrow.values.dtype == np.int8
    np.testing.assert_array_equal(narrow.values.astype(np.int16) + taken, values)


def test_one_scale_with_a_zero_point_for_each_channel():
    data, weight = bytes_of(2, 16), bytes_of(16, 4, seed=1)
    zeros = np.uint8([0, 100, 128, 255])
    model, fed = one_node(
        "QLinearMatMul",
        *(data, F32(0.02), np.uint8(90), weight // 2 + 64, F32(0.01), zeros, F32(0.1), np.uint8(128)),
        constants=range(1, 8),
    )
    (got,) = tvmq.compile(model).run(fed).values()
    total = (data.astype(np.int64) - 90) @ ((weight // 2 + 64).astype(np.int64) - zeros)
    # In float where the weights less their zero points fit no 8 bits together: half a step, at ties alone.
    assert np.abs(got - requantized(total, 0, (0.02, 0.01, 0.1)).astype(int)).max() <= 1
