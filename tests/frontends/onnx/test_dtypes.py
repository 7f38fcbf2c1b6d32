"""Dtypes of inputs that a file leaves open."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import input_specs


def _model(kind: int = TensorProto.UNDEFINED, *, typed: bool = True) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", kind, (2, 3))
    if not typed:
        x.ClearField("type")
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, (2,))
    nodes = [helper.make_node("Abs", ["x"], ["y"]), helper.make_node("Neg", ["ids"], ["z"])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in "yz"]
    graph = helper.make_graph(nodes, "graph", [x, ids], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", np.float32, np.dtype("int64")])
def test_what_is_open_is_given(dtype):
    model = _model()
    mod = load_onnx(model, input_dtypes={"x": dtype})
    assert input_specs(mod) == {"x": ((2, 3), np.dtype(dtype).name), "ids": ((2,), "int64")}
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UNDEFINED


def test_four_bits_are_fed_as_eight():
    assert input_specs(load_onnx(_model(), input_dtypes={"x": "int4"}))["x"] == ((2, 3), "int8")


def test_an_input_without_any_type():
    mod = load_onnx(_model(typed=False), {"x": (4,)}, input_dtypes={"x": "float32", "ids": "int64"})
    assert input_specs(mod)["x"] == ((4,), "float32")


def test_an_input_that_is_bound_too():
    assert list(input_specs(load_onnx(_model(), bind={"x": 2}, input_dtypes={"x": "float32"}))) == ["ids"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            None,
            r"""input 'x' has no known dtype \(ONNX data type 0\): give it, such as --input-dtypes "x:float32"$""",
        ),
        ({"X": "float32"}, "unknown input 'X'; valid: ids, x"),
        ({"x": "float23"}, "unknown dtype 'float23'; did you mean 'float32'"),
        ({"x": object()}, "unknown dtype '<object"),
        ({"x": "float32", "ids": "int32"}, "input 'ids' is given the dtype int32; the model fixes int64$"),
    ],
)
def test_what_does_not_fit(given, message):
    with pytest.raises(TvmqError, match=message):
        load_onnx(_model(), input_dtypes=given)


def test_a_sequence_has_no_dtype():
    model = _model()
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [1]))
    model.graph.input[0].type.CopyFrom(kind)
    with pytest.raises(TvmqError, match="input 'x' is no tensor but a sequence_type"):
        load_onnx(model, input_dtypes={"x": "float32"})


def test_for_files_alone():
    mod = load_onnx(_model(TensorProto.FLOAT))
    with pytest.raises(
        TvmqError, match="input_dtypes and outputs are for ONNX models and have no effect on a Relax"
    ):
        tvmq.compile(mod, input_dtypes={"x": "float32"})
