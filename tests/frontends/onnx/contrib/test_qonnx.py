"""QONNX's operators: the formulas of its documentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, op_name

from ...nodes import floats, one_node, run_node

ROUNDINGS = {"ROUND": np.rint, "HALF_EVEN": np.rint, "FLOOR": np.floor, "CEIL": np.ceil}


def numbers(*values: Any) -> list[np.ndarray]:
    return [np.asarray(value, np.float32) for value in values]


def reference(x, scale, zero, bits, *, signed: int, narrow: int, rounding_mode: str) -> np.ndarray:
    value = x / scale + zero
    if bits == 1 and signed:
        return ((np.where(value >= 0, 1, -1) - zero) * scale).astype(np.float32)
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    return ((ROUNDINGS[rounding_mode](np.clip(value, low, high)) - zero) * scale).astype(np.float32)


def quant(x: np.ndarray, *parameters, **attributes) -> np.ndarray:
    how = {"constants": (1, 2, 3), "domain": "qonnx.custom_op.general"} | attributes
    return run_node("Quant", x, *numbers(*parameters), **how)[0]


# Steps of 1/8, so that no number lies beside a half where floats decide which way it goes.
X = np.round(floats(2, 3, 40, low=-9, high=9) * 16) / 16


@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 9, 16])
def test_bits(bits, signed, narrow):
    if bits == 1 and narrow and not signed:
        pytest.skip("no value is left")
    how = {"signed": signed, "narrow": narrow, "rounding_mode": "ROUND"}
    np.testing.assert_array_equal(quant(X, 0.125, 0, bits, **how), reference(X, 0.125, 0, bits, **how))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("zero", [0.0, 3.0, 0.5])
def test_roundings_and_zero_points(rounding, zero):
    how = {"signed": 1, "narrow": 0, "rounding_mode": rounding}
    x = X + np.float32(1 / 32)  # no halves: Q rounds before it adds the zero point, and Quant behind
    np.testing.assert_array_equal(quant(x, 0.5, zero, 4, **how), reference(x, 0.5, zero, 4, **how))


@pytest.mark.parametrize("shape", [(3, 1), (1, 3, 1), (1, 1, 40), (1,)])
def test_scales_of_an_axis(shape):
    scale = (
        2.0 ** -np.arange(np.prod(shape), dtype=np.float32).reshape(shape) if shape != (1, 1, 40) else None
    )
    scale = np.full(shape, 0.25, np.float32) if scale is None else scale
    how = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
    np.testing.assert_array_equal(quant(X, scale, 0, 4, **how), reference(X, scale, 0, 4, **how))


def test_scales_of_two_axes():
    scale = 2.0 ** -np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    how = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    np.testing.assert_array_equal(quant(X, scale, 0, 4, **how), reference(X, scale, 0, 4, **how))


def test_it_is_a_pair_of_the_hub():
    model, _ = one_node(
        *("Quant", X, *numbers(0.1, 0, 4)),
        **{"constants": (1, 2, 3), "domain": "qonnx.custom_op.general", "signed": 1, "narrow": 0},
    )
    names = [op_name(binding.value) for binding in bindings_of(load_onnx(model))]
    assert [name for name in names if name] == ["relax.clip", "relax.quantize", "relax.dequantize"]


@pytest.mark.parametrize("rounding", ["FLOOR", "ROUND"])
def test_trunc(rounding):
    x = np.arange(-20, 21, dtype=np.float32) * 0.5
    how = {"domain": "qonnx.custom_op.general", "rounding_mode": rounding}
    (found,) = run_node("Trunc", x, *numbers(0.5, 0, 8, 6), constants=(1, 2, 3, 4), **how)
    np.testing.assert_array_equal(found, ROUNDINGS[rounding](x / 0.5 / 4) * 0.5)
    (found,) = run_node(
        "Trunc", x, *numbers(0.5, 4, 8, 2.0, 1, 3), constants=(1, 2, 3, 4, 5, 6), signed=1, narrow=0, **how
    )
    expected = (ROUNDINGS[rounding](np.clip((x / 0.5 + 4) / 4, -4, 3)) - 1) * 2.0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("shape", "layout", "axis"),
    [((2, 3), "NCHW", 1), ((2, 3, 4, 5), "NCHW", 1), ((2, 4, 5, 3), "NHWC", 3), ((2, 4, 3), "NCHW", 2)],
)
def test_multi_threshold(shape, layout, axis, channels):
    x, thresholds = floats(*shape), np.sort(floats(channels, 7, seed=1), axis=1)
    (found,) = run_node(
        *("MultiThreshold", x, thresholds),
        **{"constants": (1,), "domain": "qonnx.custom_op.general", "data_layout": layout},
        **{"out_dtype": "INT4", "out_scale": 2.0, "out_bias": -7.0},
    )
    reached = np.moveaxis(x, axis, -1)[..., None] >= thresholds
    np.testing.assert_array_equal(found, np.moveaxis(reached.sum(-1), -1, axis) * 2.0 - 7.0)


@pytest.mark.parametrize(
    ("parameters", "attributes", "message"),
    [
        ((0.0, 0, 4), {}, "its scale is .*, and positive numbers were expected"),
        ((0.5, 0, 4.5), {}, "its bit width is .*; expected one whole number from 1 to 24"),
        ((0.5, 0, 4), {"rounding_mode": "UPWARDS"}, "rounding_mode 'UPWARDS' is unknown; valid: ROUND"),
        ((0.5, 0, 4), {"constants": (1, 2)}, "must be constant"),
    ],
)
def test_bad_input(parameters, attributes, message):
    with pytest.raises(TvmqError, match=message):
        quant(X, *parameters, **attributes)
