"""Import: names, spans, records and outputs; files and graphs that are refused, each in one line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import OUTPUTS, bindings_of, layer_name, op_name, shape_of
from tvmq.passes.hub.layers import get_layers

FLOAT = TensorProto.FLOAT


def tensor(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, constants=None, opset=17, **attrs):
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **attrs)


def conv_relu(names=("conv", "relu"), inputs=None, x="x"):
    nodes = [
        helper.make_node("Conv", [x, "w", "b"], ["c"], name=names[0]),
        helper.make_node("Relu", ["c"], ["y"], name=names[1]),
    ]
    constants = {"w": np.ones((4, 3, 1, 1), "float32"), "b": np.arange(4, dtype="float32")}
    inputs = inputs or [tensor(x, (1, 3, 5, 5))]
    return model(nodes, inputs, [tensor("y", None)], constants)


def named_calls(mod):
    return [
        (op_name(b.value).split(".")[-1], layer_name(b.value)) for b in bindings_of(mod) if op_name(b.value)
    ]


def refused(proto, shapes=None):
    with pytest.raises(TvmqError) as caught:
        load_onnx(proto, shapes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_call_carries_its_node():
    mod = load_onnx(conv_relu())
    assert named_calls(mod) == [("conv2d", "conv"), ("add", "conv"), ("relu", "relu")]
    assert [(layer.name, layer.op, layer.status) for layer in get_layers(mod)] == [
        ("conv", "Conv", "float"),
        ("relu", "Relu", "float"),
    ]
    assert json.loads(mod["main"].attrs[OUTPUTS]) == ["y"]


def test_names_that_are_missing_or_taken():
    assert [layer.name for layer in get_layers(load_onnx(conv_relu(("", "same"))))] == ["c", "same"]
    assert [layer.name for layer in get_layers(load_onnx(conv_relu(("same", "same"))))] == ["same", "same_2"]


def test_a_node_of_many_calls_names_them_all():
    node = helper.make_node("HardSwish", ["x"], ["y"], name="swish")
    mod = load_onnx(model([node], [tensor("x", (2, 3))], [tensor("y", None)]))
    assert {name for _, name in named_calls(mod)} == {"swish"} and len(named_calls(mod)) > 2


def test_a_node_that_passes_its_input_on_takes_no_name():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("Identity", ["a"], ["b"], name="identity"),
        helper.make_node("Dropout", ["b"], ["y"], name="dropout"),
    ]
    mod = load_onnx(model(nodes, [tensor("x", (2, 3))], [tensor("y", None)]))
    assert named_calls(mod) == [("relu", "relu")]
    assert [layer.name for layer in get_layers(mod)] == ["relu", "identity", "dropout"]


@pytest.mark.parametrize("name", ["x:0", "0", "a.b/c d", "input"])
def test_inputs_keep_their_names(name):
    assert [param.name for param in load_onnx(conv_relu(x=name))["main"].params] == [name]


def test_initializers_that_are_inputs_too():
    inputs = [tensor("x", (1, 3, 5, 5)), tensor("w", (4, 3, 1, 1)), tensor("b", (4,))]
    mod = load_onnx(conv_relu(inputs=inputs))
    assert [param.name for param in mod["main"].params] == ["x"]


def test_several_outputs_and_one_that_is_an_input():
    nodes = [helper.make_node("Split", ["x"], ["a", "b"], axis=1, name="split")]
    mod = load_onnx(model(nodes, [tensor("x", (2, 4))], [tensor(name, None) for name in "bxa"], opset=13))
    assert json.loads(mod["main"].attrs[OUTPUTS]) == ["b", "x", "a"]
    assert len(mod["main"].ret_ty.fields) == 3


def test_constant_nodes_have_no_record():
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, "float32"))),
        helper.make_node("Mul", ["x", "c"], ["y"], name="mul"),
    ]
    mod = load_onnx(model(nodes, [tensor("x", (2, 3))], [tensor("y", None)]))
    assert [layer.name for layer in get_layers(mod)] == ["mul"]


def test_import_says_nothing(capfd, recwarn):
    load_onnx(conv_relu(x="x:0"))
    assert capfd.readouterr() == ("", "") and not recwarn.list


def test_dynamic_shapes_are_filled_in():
    mod = load_onnx(conv_relu(inputs=[tensor("x", ("N", 3, "H", 5))]), {"x": (2, 3, 7, 5)})
    assert shape_of(mod["main"].params[0]) == (2, 3, 7, 5)


class TestFiles:
    def test_a_file(self, tmp_path):
        onnx.save(conv_relu(), tmp_path / "m.onnx")
        assert named_calls(load_onnx(tmp_path / "m.onnx")) == named_calls(load_onnx(conv_relu()))
        assert named_calls(load_onnx(str(tmp_path / "m.onnx")))

    def test_missing(self, tmp_path):
        assert refused(tmp_path / "m.onnx") == f"ONNX file '{tmp_path}/m.onnx' does not exist"

    def test_a_folder(self, tmp_path):
        assert "cannot be read" in refused(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08", bytes(range(256)) * 9])
    def test_no_model(self, tmp_path, content):
        (tmp_path / "m.onnx").write_bytes(content)
        assert "no ONNX model" in refused(tmp_path / "m.onnx")

    def test_cut_off(self, tmp_path):
        (tmp_path / "m.onnx").write_bytes(conv_relu().SerializeToString()[:-20])
        assert "m.onnx' is no ONNX model, or a corrupt one" in refused(tmp_path / "m.onnx")

    def test_external_data(self, tmp_path):
        path = tmp_path / "m.onnx"
        onnx.save(conv_relu(), path, save_as_external_data=True, location="m.data", size_threshold=0)
        assert named_calls(load_onnx(path)) == named_calls(load_onnx(conv_relu()))
        (tmp_path / "m.data").unlink()
        assert refused(path) == (
            f"ONNX file '{path}': external data of tensor 'w' cannot be read: file 'm.data': No such file or directory"
        )

    def test_too_old(self):
        proto = conv_relu()
        proto.ir_version = 2
        assert "IR version 2; 3 is the oldest supported" in refused(proto)


class TestGraphs:
    def test_unknown_operators_are_all_named(self):
        nodes = [
            helper.make_node("Foo", ["x"], ["a"], name="n1"),
            helper.make_node("Foo", ["a"], ["b"], name="n2"),
            helper.make_node("Relu", ["b"], ["c"], domain="my.domain"),
            helper.make_node("Bar", ["c"], ["y"]),
        ]
        message = refused(model(nodes, [tensor("x", (2, 3))], [tensor("y", None)]))
        assert message == (
            "the model has operators that cannot be imported: Bar (node y); Foo (node n1, n2); "
            "my.domain.Relu (node c)"
        )

    def test_a_node_that_reads_nothing(self):
        nodes = [helper.make_node("Relu", ["lost"], ["y"], name="relu")]
        message = refused(model(nodes, [tensor("x", (2, 3))], [tensor("y", None)]))
        assert message.startswith("ONNX node 'relu' (Relu) reads 'lost', which no input")

    def test_a_node_that_does_not_fit(self):
        nodes = [helper.make_node("MatMul", ["x", "x"], ["y"], name="product")]
        message = refused(model(nodes, [tensor("x", (2, 3))], [tensor("y", None)]))
        assert message.startswith("ONNX node 'product' (MatMul) cannot be imported: ")


def test_spans_survive_the_passes_that_every_pipeline_runs():
    mod = load_onnx(conv_relu())
    for step in (
        relax.transform.CanonicalizeBindings(),
        relax.transform.EliminateCommonSubexpr(),
        relax.transform.DeadCodeElimination(),
    ):
        mod = step(mod)
    assert named_calls(mod) == [("conv2d", "conv"), ("add", "conv"), ("relu", "relu")]
