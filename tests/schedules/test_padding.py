"""Sums that leave padding out are those that have it, at every border, stride and dilation."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.schedules import padding

CASES = [
    # kernel, pads, stride, dilation
    ((3, 3), (1, 1, 1, 1), 1, 1),
    ((3, 3), (1, 1, 1, 1), 2, 1),
    ((3, 3), (0, 2, 1, 0), 1, 1),
    ((3, 3), (6, 6, 6, 6), 1, 6),
    ((3, 3), (9, 9, 9, 9), 2, 9),
    ((5, 1), (2, 0, 2, 0), 1, 1),
    ((1, 5), (0, 2, 0, 2), 1, 1),
    ((7, 7), (9, 9, 9, 9), 1, 1),
]
SIZE = (10, 11)


def model(kernel, pads, stride: int, dilation: int, with_relu: bool) -> onnx.ModelProto:
    weight = np.random.default_rng(1).standard_normal((20, 8, *kernel)).astype("float32")
    nodes = [
        helper.make_node("Relu" if with_relu else "Identity", ["x"], ["r"]),
        helper.make_node(
            "Conv", ["r", "w"], ["y"], pads=pads, strides=[stride] * 2, dilations=[dilation] * 2
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (2, 8, *SIZE))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def sample() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 8, *SIZE)).astype("float32")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case) -> None:
    proto = model(*case, with_relu=False)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": sample()})
    np.testing.assert_allclose(tvmq.compile(proto).run(sample())["y"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("with_relu", [True, False])
@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_integers_are_the_same(case, with_relu: bool) -> None:
    """Behind a ReLU the zero point is 0 and padding is left out; elsewhere it counts."""
    quantized = tvmq.quantize(model(*case, with_relu), "int8", calibration=[{"x": sample()}])
    result = tvmq.compile(quantized).run(sample())["y"]
    with patch.object(padding, "skip_padding", lambda func: func):
        expected = tvmq.compile(quantized).run(sample())["y"]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("case", "saves"), [(CASES[0], True), (CASES[3], True), (CASES[6], False)])
def test_conditions_are_around_taps_only_where_they_save_something(case, saves: bool) -> None:
    options = tvmq.CompileOptions(dump_code=("tir",))
    code = tvmq.compile(
        model(*case, with_relu=False), "llvm -mcpu=znver4 -num-cores=1", options=options
    ).sources["tir"]
    body = code[code.index("def conv2d") :]
    assert any(line.strip().startswith("if ") for line in body.splitlines()) == saves
