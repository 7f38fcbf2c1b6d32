"""Inputs that become constants, graphs that end earlier, and nodes that no output needs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.graph import bound, cut, graph_of, inputs_of, pruned, reads, unique_node_names
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import OUTPUTS
from tvmq.passes.hub.layers import get_layers

from ..graphs import body, model, node, run, value

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def two_heads():
    """x -> relu -> a -> neg -> y;  a, z -> add -> b."""
    return model(
        [
            node("Relu", ["x"], ["a"], name="relu"),
            node("Neg", ["a"], ["y"], name="neg"),
            node("Add", ["a", "z"], ["b"], name="add"),
        ],
        [value("x", (1, 3)), value("z", ("N", 3))],
        ["y", "b"],
    )


def refused(call, *arguments):
    with pytest.raises(TvmqError) as caught:
        call(*arguments)
    return str(caught.value)


class TestBound:
    @pytest.mark.parametrize("given", [2, 2.0, [[2, 2, 2]], np.full((1, 3), 2, np.float32)])
    def test_values_that_fit(self, given):
        mod = load_onnx(two_heads(), bind={"z": given})
        assert [param.name for param in mod["main"].params] == ["x"]
        np.testing.assert_array_equal(run(mod, X)[1], np.maximum(X, 0) + 2)

    def test_an_input_of_integers(self):
        proto = model([node("Identity", ["n"], ["y"])], [value("n", (), TensorProto.INT64)], ["y"])
        assert run(load_onnx(proto, bind={"n": 16000}))[0] == 16000

    @pytest.mark.parametrize(
        ("name", "given", "message"),
        [
            ("q", 1, "unknown input 'q'; valid: f, n"),
            ("n", 0.5, "input 'n' cannot be bound to 0.5: it holds int64 values"),
            ("n", "text", "input 'n' cannot be bound to 'text': no such tensor can be made of it"),
            ("n", [1, 2, 3], "input 'n' has the shape [2] and is bound to a value of shape [3]"),
            ("f", [[1.0]], "input 'f' has the shape [] and is bound to a value of shape [1, 1]"),
        ],
    )
    def test_values_that_do_not(self, name, given, message):
        proto = model(
            [node("Identity", ["n"], ["y"])], [value("n", (2,), TensorProto.INT64), value("f", ())], ["y"]
        )
        assert refused(bound, graph_of(proto.graph), {name: given}) == message


class TestCut:
    @pytest.mark.parametrize(
        ("names", "outputs", "inputs"),
        [
            (["a"], ["a"], ["x"]),
            (["relu"], ["a"], ["x"]),  # a node stands for what it gives
            (["b", "y"], ["b", "y"], ["x", "z"]),
            (["y", "neg"], ["y"], ["x"]),
        ],
    )
    def test_what_is_left(self, names, outputs, inputs):
        mod = load_onnx(two_heads(), {"z": (1, 3)} if "z" in inputs else None, outputs=names)
        assert json.loads(mod["main"].attrs[OUTPUTS]) == outputs
        assert [param.name for param in mod["main"].params] == inputs

    def test_nodes_behind_the_cut_are_gone(self):
        assert [layer.name for layer in get_layers(load_onnx(two_heads(), outputs=["a"]))] == ["relu"]

    def test_an_unknown_name(self):
        graph = graph_of(two_heads().graph)
        assert refused(cut, graph, ["rellu"]) == "unknown output 'rellu'; did you mean 'relu'?"
        assert refused(cut, graph, []) == "no output is named, and a model needs one"


def test_what_no_output_needs_is_not_imported():
    nodes = [node("Relu", ["x"], ["y"]), node("Foo", ["x"], ["lost"])]
    mod = load_onnx(model(nodes, [value("x", (1, 3)), value("unused", (2,))], ["y"]))
    assert [layer.op for layer in get_layers(mod)] == ["Relu"]
    assert [param.name for param in mod["main"].params] == ["x", "unused"]


def test_a_pruned_initializer_does_not_become_an_input():
    proto = model(
        [node("Relu", ["x"], ["y"])], [value("x", (1, 3)), value("w", (2,))], ["y"], {"w": [1.0, 2.0]}
    )
    shorter = pruned(graph_of(proto.graph))
    assert [given.name for given in shorter.input] == ["x"] and not shorter.initializer


def test_subgraphs_read_what_is_outside():
    inner = body([node("Add", ["x", "c"], ["t"]), node("Mul", ["t", "outer"], ["r"])], [], ["r"], c=1.0)
    assert set(reads(node("If", ["flag"], ["y"], then_branch=inner))) == {"flag", "x", "outer"}


def test_inputs_of_a_value():
    graph = graph_of(two_heads().graph)
    assert (
        inputs_of(graph, "b") == ["x", "z"]
        and inputs_of(graph, "y") == ["x"]
        and inputs_of(graph, "x") == ["x"]
    )


def test_names_across_graphs_stay_unique():
    nodes = [node("Relu", ["x"], ["y"], name="same"), node("Relu", ["y"], ["z"], name="same")]
    taken = {"same"}
    assert unique_node_names(nodes, taken) == ["same_2", "same_3"] and taken == {"same", "same_2", "same_3"}


def test_a_model_without_outputs():
    assert (
        refused(load_onnx, model([node("Relu", ["x"], ["y"])], [value("x", (1, 3))], []))
        == "the model has no outputs"
    )


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Relu", ["x"], ["a"])], "the model's output 'y' is given by no node, input or initializer"),
        (
            [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["a"], name="n"), node("Abs", ["a"], ["y"])],
            "ONNX node 'n' (Neg) reads 'a', which no input, initializer or earlier node gives",
        ),
        (
            [node("Relu", ["x"], ["x"], name="n"), node("Abs", ["x"], ["y"])],
            "ONNX node 'n' (Relu) gives 'x', which the model has already",
        ),
        (
            [node("Expand", ["x", "far"], ["y"], name="n")],
            "ONNX node 'n' (Expand): its result has the shape [10000000000,3] of float32, 112 GiB; that is too large",
        ),
    ],
)
def test_graphs_that_are_none(nodes, message):
    proto = model(nodes, [value("x", (1, 3))], ["y"], {"far": np.array([10**10, 3])})
    assert refused(load_onnx, proto) == message


def test_import_that_fails_leaves_nothing_open(capfd):
    proto = model([node("MatMul", ["x", "x"], ["y"])], [value("x", (2, 3))], ["y"])
    assert "cannot be imported" in refused(load_onnx, proto)
    relax.BlockBuilder()
    assert capfd.readouterr() == ("", "")


def test_a_shape_that_only_the_data_decide():
    nodes = [node("ConstantOfShape", ["s"], ["y"], name="n")]
    proto = model(nodes, [value("s", (3,), TensorProto.INT64)], ["y"])
    message = "ONNX node 'n' (ConstantOfShape) gives a result whose shape depends on its data; shapes must be static"
    assert refused(load_onnx, proto) == message
