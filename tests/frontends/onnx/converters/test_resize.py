"""Resize and Upsample of old opsets, and what is refused; ONNX's node tests cover the modes of today."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, op_name

from ....onnx_node.path import compile_and_run

DATA = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def _model(opset: int, op_type: str, constants: dict[str, np.ndarray], **attributes) -> onnx.ModelProto:
    """One node on ``x`` and the constants, in order; a name of None leaves the operand out."""
    node = helper.make_node(op_type, ["x", *constants], ["y"], **attributes)
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, DATA.shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items() if name]
    graph = helper.make_graph([node], "resize", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _scales(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    "model",
    [
        _model(7, "Upsample", {}, scales=[1.0, 1.0, 2.0, 3.0]),
        _model(9, "Upsample", {"scales": _scales(1, 1, 2, 3)}),
        _model(10, "Resize", {"scales": _scales(1, 1, 2, 3)}),
        _model(11, "Resize", {"": None, "scales": _scales(1, 1, 2, 3)}),
    ],
    ids=["Upsample-7", "Upsample-9", "Resize-10", "Resize-11"],
)
def test_whole_factors_repeat_with_the_one_operator(model: onnx.ModelProto) -> None:
    (result,) = compile_and_run(model, {"x": DATA})
    np.testing.assert_array_equal(result, DATA.repeat(2, axis=2).repeat(3, axis=3))
    operators = [op_name(binding.value) for binding in bindings_of(load_onnx(model))]
    assert "relax.image.resize2d" in operators and "relax.take" not in operators


def test_opset_10_rounds_positions_down() -> None:
    # 5 columns by 0.7: floor(3.5) = 3 of them, from 0 / 0.7, 1 / 0.7 and 2 / 0.7.
    (result,) = compile_and_run(_model(10, "Resize", {"scales": _scales(1, 1, 1, 0.7)}), {"x": DATA})
    np.testing.assert_array_equal(result, DATA[..., [0, 1, 2]])


def _sized(policy: str) -> onnx.ModelProto:
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], keep_aspect_ratio_policy=policy)
    model = _model(18, "Identity", {})
    model.graph.node[0].CopyFrom(node)
    model.graph.initializer.append(numpy_helper.from_array(np.array(DATA.shape, np.int64), "sizes"))
    return model


def test_other_axes_are_selected_from() -> None:
    model = _model(11, "Resize", {"": None, "scales": _scales(1, 2, 1, 1)}, mode="nearest")
    (result,) = compile_and_run(model, {"x": DATA})
    np.testing.assert_array_equal(result, DATA.repeat(2, axis=1))


def test_a_factor_of_one_is_dropped() -> None:
    mod = load_onnx(_model(10, "Resize", {"scales": _scales(1, 1, 1, 1)}))
    assert not any(isinstance(binding.value, relax.Call) for binding in bindings_of(mod))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_model(11, "Resize", {"": None}), "exactly one of scales and sizes"),
        (_model(11, "Resize", {"": None, "scales": _scales(2, 2)}), "2 scales or sizes are given for 4 axes"),
        (_model(10, "Resize", {"scales": _scales(1, 1, 2, 2)}, mode="area"), "mode 'area' is unknown"),
        (_sized("fit"), "keep_aspect_ratio_policy 'fit' is unknown; valid: stretch, not_larger, not_smaller"),
        (
            _model(18, "Resize", {"": None, "scales": _scales(1, 1, 2, 2)}, antialias=1),
            "antialias goes with the modes linear and cubic only",
        ),
    ],
)
def test_bad_attributes_are_named(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(TvmqError, match=rf"'y' \(Resize\).*{message}"):
        load_onnx(model)
