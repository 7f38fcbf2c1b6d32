"""Models of one operator: shapes, arithmetic counted, integers that stand for the float model's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from tvmq.bench import operators
from tvmq.bench.operators import OPERATORS, Operator

SMALL = (
    Operator("", 5, 6, 7),
    Operator("", 4, 6, 5, kernel=3),
    Operator("", 4, 6, 5, kernel=1, stride=2),
    Operator("", 4, 6, 3, kernel=7, stride=2),
)


def _run(model: onnx.ModelProto, sample: np.ndarray) -> np.ndarray:
    return ReferenceEvaluator(model).run(None, {"x": sample})[0]


@pytest.mark.parametrize("operator", SMALL, ids=lambda operator: operator.name)
def test_the_integer_model_stands_for_the_float_one(operator: Operator) -> None:
    exact, integers = operators.float_model(operator), operators.int8_model(operator)
    for model in (exact, integers):
        onnx.checker.check_model(model, full_check=True)
    expected = _run(exact, operators.sample(operator, is_int8=False))
    result = _run(integers, operators.sample(operator, is_int8=True))
    assert expected.shape == result.shape == operator.output_shape and result.dtype == np.uint8
    scale = operators.output_scale(operator)
    inside = (result > 0) & (result < 255)
    difference = (result.astype(np.float32) - operators.OUTPUT_ZERO_POINT) * scale - expected
    # Half a step, and float32's rounding of the reference.
    assert inside.mean() > 0.9 and np.abs(difference[inside]).max() <= 0.501 * scale


@pytest.mark.parametrize("operator", SMALL, ids=lambda operator: operator.name)
def test_channels_last_is_the_same_operator(operator: Operator) -> None:
    model, sample = operators.float_model(operator), operators.sample(operator, is_int8=False)
    twin = operators.channels_last(model)
    onnx.checker.check_model(twin, full_check=True)
    expected = _run(model, sample)
    if not operator.kernel:
        assert twin == model
        return
    result = _run(twin, sample.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(result.transpose(0, 3, 1, 2), expected)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("784x128x1152", 784 * 128 * 1152),
        ("3x3-256-256-14", 14 * 14 * 256 * 256 * 9),
        ("7x7/2-3-64-112", 112 * 112 * 64 * 3 * 49),
        ("1x1/2-512-1024-14", 14 * 14 * 512 * 1024),
    ],
)
def test_names_and_counts(name: str, macs: int) -> None:
    assert OPERATORS[name].name == name and OPERATORS[name].macs == macs


def test_the_stem_of_a_resnet_has_its_padding() -> None:
    assert OPERATORS["7x7/2-3-64-112"].padding == (
        3,
        2,
    )  # the seventh row behind would be read by no position
    assert OPERATORS["1x1/2-512-1024-14"].padding == (0, 0)
    assert OPERATORS["3x3-64-64-56"].padding == (1, 1)
