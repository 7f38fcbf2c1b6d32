"""Small files that ask for more than a machine has: refused before it is made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx import limits
from tvmq.frontends.onnx.load import load_onnx

node = helper.make_node


def _value(name, shape=None, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes, functions=(), outputs=("y",), **constants) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [_value("x", (2, 3))],
        [_value(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions)


def _refused(model: onnx.ModelProto) -> str:
    with pytest.raises(TvmqError) as caught:
        load_onnx(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ONE = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("made", "constants"),
    [
        (node("ConstantOfShape", ["s"], ["c"]), {"s": [2**33]}),
        (node("Expand", ["w", "s"], ["c"]), {"w": ONE, "s": [2**31, 2, 3]}),
        (node("Tile", ["w", "s"], ["c"]), {"w": ONE, "s": [2**30, 1]}),
        (node("Range", ["a", "b", "d"], ["c"]), {"a": 0, "b": 2**62, "d": 1}),
        (node("Pad", ["w", "s"], ["c"]), {"w": ONE, "s": [0, 0, 0, 2**33]}),
        (node("OneHot", ["a", "b", "w"], ["c"]), {"a": [0], "b": 2**33, "w": np.float32([0, 1])}),
        (node("RandomNormal", [], ["c"], shape=[2**20, 2**20]), {}),
    ],
    ids=lambda made: made.op_type if isinstance(made, onnx.NodeProto) else "",
)
def test_one_constant(made, constants):
    nodes = [made, node("ReduceSum", ["c"], ["r"], keepdims=0), node("Add", ["x", "r"], ["y"])]
    message = _refused(_model(nodes, **constants))
    if made.op_type != "RandomNormal":  # which no importer takes
        assert message.startswith(
            f"ONNX node 'c' ({made.op_type}): what the model computes from constants alone"
        )


def test_constants_that_are_too_large_together(monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_CONSTANTS", 10_000)
    nodes = [node("ConstantOfShape", ["s"], ["c0"])]
    nodes += [node("Add", [f"c{index}", f"c{index}"], [f"c{index + 1}"]) for index in range(9)]
    nodes += [node("ReduceSum", ["c9"], ["r"], keepdims=0), node("Add", ["x", "r"], ["y"])]
    assert load_onnx(_model(nodes, s=[100]))
    message = _refused(_model(nodes, s=[400]))
    assert message.startswith("ONNX node 'c6' (Add): what the model computes from constants alone")
    stored = np.ones(2, np.float32)  # 8 bytes, which stand for 256 more
    assert "'c6'" in _refused(_model(nodes, s=[400], w=stored))
    assert load_onnx(_model(nodes, s=[400], w=np.ones(500, np.float32)))


def test_constants_of_each_round(monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_CONSTANTS", 10_000)
    monkeypatch.setattr(limits, "OF_STORED", 0)
    body = helper.make_graph(
        [node("Add", ["s", "w"], ["next"]), node("Identity", ["go"], ["on"])],
        "body",
        [_value("i", (), TensorProto.INT64), _value("go", (), TensorProto.BOOL), _value("s")],
        [_value("on", (), TensorProto.BOOL), _value("next")],
        [numpy_helper.from_array(np.ones((100, 2, 3), np.float32), "w")],
    )
    model = _model([node("Loop", ["count", "", "x"], ["y"], body=body)], count=9)
    assert "tensor 'y/4/w': what the model computes from constants alone" in _refused(model)


def test_too_many_values(monkeypatch):
    monkeypatch.setattr(limits, "MOST_VALUES", 40)
    chain = [node("Relu", [f"v{index}" if index else "x"], [f"v{index + 1}"]) for index in range(38)]
    assert load_onnx(_model(chain, outputs=["v38"]))
    longer = [*chain, node("Relu", ["v38"], ["v39"])]
    assert "more than 40 values" in _refused(_model(longer, outputs=["v39"]))
    assert "more than 40 values" in _refused(_model(chain, outputs=["v38", "v37"]))
    split = node("Split", ["x"], [f"o{index}" for index in range(50)], axis=0)
    assert "more than 40 values" in _refused(_model([split], outputs=["o0"]))


def test_loops_in_loops(monkeypatch):
    monkeypatch.setattr(limits, "MOST_VALUES", 1000)

    def body(nodes):
        return helper.make_graph(
            [*nodes, node("Identity", ["go"], ["on"])],
            "body",
            [_value("i", (), TensorProto.INT64), _value("go", (), TensorProto.BOOL), _value("s")],
            [_value("on", (), TensorProto.BOOL), _value("next")],
        )

    inner = body([node("Relu", ["s"], ["next"])])
    for _ in range(6):
        inner = body([node("Loop", ["count", "", "s"], ["next"], body=inner)])
    model = _model([node("Loop", ["count", "", "x"], ["y"], body=inner)], count=200)
    assert "more than 1000 values" in _refused(model)


def test_long_names():
    assert "a name of 5000 characters, 'nnn" in _refused(
        _model([node("Relu", ["x"], ["y"], name="n" * 5000)])
    )


def _function(name, *calls):
    names = ["a", *(f"t{index}" for index in range(len(calls) - 1)), "b"]
    nodes = [
        node(call, [names[index]], [names[index + 1]], domain="" if call == "Relu" else "own")
        for index, call in enumerate(calls)
    ]
    return helper.make_function(
        "own", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    )


def test_functions_that_double():
    functions = [
        _function("F0", "Relu"),
        *(_function(f"F{i}", f"F{i - 1}", f"F{i - 1}") for i in range(1, 40)),
    ]
    message = _refused(_model([node("F39", ["x"], ["y"], domain="own")], functions))
    assert message.startswith("the model has more than 65536 values")
    assert load_onnx(_model([node("F3", ["x"], ["y"], domain="own")], functions))


def test_functions_that_call_each_other():
    functions = [_function("F", "G"), _function("G", "Relu", "F")]
    message = _refused(_model([node("F", ["x"], ["y"], domain="own")], functions))
    assert message == "the model's functions call each other in a circle: 'F' -> 'G' -> 'F'"


def test_functions_with_large_constants(monkeypatch):
    from tvmq.frontends.onnx import functions as own

    monkeypatch.setattr(own, "LARGEST_FILE", 10_000)
    function = _function("F", "Relu")
    function.node.insert(
        0, node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(500, np.float32)))
    )
    calls = [node("F", ["x"], [f"y{index}"], domain="own") for index in range(9)]
    assert "functions come to 0.0 GiB of nodes" in _refused(_model(calls, [function], outputs=["y0"]))


def test_nodes_in_a_circle():
    nodes = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    assert "reads 'b', which no input, initializer or earlier node gives" in _refused(_model(nodes))


def test_a_sparse_tensor_of_a_few_values():
    model = _model([node("Add", ["x", "w"], ["y"])])
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "i"))
    sparse.dims[:] = [2**14, 2**15]
    assert "the dense ones that they stand for are larger" in _refused(model)


def test_more_dimensions_than_arrays_have():
    tensor = TensorProto(name="w", data_type=1, dims=[1] * 1000, raw_data=bytes(4))
    model = _model([node("Add", ["x", "w"], ["y"])])
    model.graph.initializer.append(tensor)
    assert "it has 1000 dimensions (shape [1, 1, " in _refused(model)
