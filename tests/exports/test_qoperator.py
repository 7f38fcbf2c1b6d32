"""Files of operators on integers: which ones, that the integers are those of Q and DQ, and what stays float."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.errors import TvmqError
from tvmq.exports.qoperator import to_qoperator
from tvmq.exports.write import to_onnx

TARGET = "llvm -mcpu=haswell"
X = np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype(np.float32)
CONSTANTS = {
    name: np.random.default_rng(place).normal(size=shape).astype(np.float32)
    for place, (name, shape) in enumerate(
        {
            "p": (4, 4, 1, 1),
            "d": (4, 1, 3, 3),
            "w": (8, 8, 3, 3),
            "b": (4,),
            "g": (8, 5),
            "c": (5,),
            "m": (6, 5),
            "m2": (5, 4),
        }.items()
    )
} | {"low": np.float32(0.0), "high": np.float32(6.0)}
node = helper.make_node
IMAGES = [
    node("Conv", ["x", "p", "b"], ["a"]),
    node("Relu", ["a"], ["r"]),
    node("Conv", ["r", "d"], ["e"], group=4, pads=[1] * 4),
    node("Clip", ["e", "low", "high"], ["k"]),
    node("Sigmoid", ["r"], ["s"]),
    node("Mul", ["k", "s"], ["u"]),
    node("MaxPool", ["r"], ["q"], kernel_shape=[1, 1]),
    node("Add", ["u", "q"], ["n"]),
    node("Concat", ["n", "r"], ["o"], axis=1),
    node("AveragePool", ["o"], ["v"], kernel_shape=[2, 2], strides=[2, 2]),
    node("Conv", ["v", "w"], ["f"]),
    node("GlobalAveragePool", ["f"], ["h"]),
    node("Flatten", ["h"], ["i"]),
    node("Gemm", ["i", "g", "c"], ["j"]),
    node("Relu", ["j"], ["y"]),
]
ROWS = [
    node("MatMul", ["x", "m"], ["a"]),
    node("Add", ["a", "c"], ["l"]),
    node("Relu", ["l"], ["r"]),
    node("MatMul", ["r", "m2"], ["y"]),
]
CASES = {
    "images": (
        IMAGES,
        {"QLinearConv": 3, "QLinearSigmoid": 1, "QLinearMul": 1, "QLinearAdd": 1, "QLinearConcat": 1,
         "QLinearAveragePool": 1, "QLinearGlobalAveragePool": 1, "QGemm": 2, "MaxPool": 1},
    ),
    "rows": (ROWS, {"QGemm": 3}),
}  # fmt: skip


def _source(nodes) -> onnx.ModelProto:
    """Return the nodes, with a product behind them that has their result rounded."""
    read = {name for each in nodes for name in each.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in read}
    fed = [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)]

    def model(more, result, **further) -> onnx.ModelProto:
        weights = [numpy_helper.from_array(value, name) for name, value in {**constants, **further}.items()]
        graph = helper.make_graph([*nodes, *more], "source", fed, [onnx.ValueInfoProto(name=result)], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    count = ReferenceEvaluator(model([], "y")).run(None, {"x": X})[0].size
    tail = np.random.default_rng(4).normal(size=(count, 3)).astype(np.float32)
    last = [node("Reshape", ["y", "row"], ["z"]), node("MatMul", ["z", "tail"], ["out"], name="tail")]
    return model(last, "out", row=np.array([1, count]), tail=tail)


def _operators(model: onnx.ModelProto) -> Counter:
    return Counter(each.op_type for each in model.graph.node)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    nodes, expected = CASES[request.param]
    quantized = tvmq.quantize(_source(nodes), "int8", TARGET, [{"x": X}, {"x": -X}])
    pairs = to_onnx(quantized.mod)
    return pairs, to_qoperator(pairs), expected


def test_operators_on_integers(case):
    pairs, made, expected = case
    onnx.checker.check_model(made, full_check=not any(each.domain for each in made.graph.node))
    assert expected.items() <= _operators(made).items()
    assert made.opset_import[0].version <= 18
    left = {"Conv", "MatMul", "Gemm", "Mul", "Add", "Sigmoid", "AveragePool", "ReduceMean", "Concat"}
    left |= {"Gemm", "Softmax"}
    assert [each.name for each in made.graph.node if each.op_type in left] == []
    assert _operators(made)["QuantizeLinear"] == 1  # of the input


def test_the_same_integers_come_back(case):
    expected, found = (tvmq.compile(model, TARGET).run({"x": X})["out"] for model in case[:2])
    np.testing.assert_array_equal(found, expected)


def test_onnxruntime_agrees(case):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tvmq[bench]'")
    pairs, made, _ = case
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected, found = (
        onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": X})[0]
        for model in (pairs, made)
    )
    # Its kernels round twice where two scales meet: an integer now and then is its neighbour.
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()


def _pairs(activation: str, zero: int, **limits: float) -> onnx.ModelProto:
    """Return Q(activation(Conv(DQ(Q(x)), DQ(w)))) with a zero point of the result that cuts, or does not."""
    ends = [numpy_helper.from_array(np.float32(value), name) for name, value in limits.items()]
    return helper.make_model(
        helper.make_graph(
            [
                node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                node("DequantizeLinear", ["q", "s", "z"], ["h"]),
                node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
                node("Conv", ["h", "v"], ["a"], name="conv", group=4),
                node(activation, ["a", *limits], ["r"]),
                node("QuantizeLinear", ["r", "s", "yz"], ["t"]),
                node("DequantizeLinear", ["t", "s", "yz"], ["u"]),
                node("Identity", ["u"], ["y"]),
            ],
            "pairs",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [
                numpy_helper.from_array(np.float32(0.1), "s"),
                numpy_helper.from_array(np.uint8(128), "z"),
                numpy_helper.from_array(np.uint8(zero), "yz"),
                numpy_helper.from_array(np.int8(0), "wz"),
                numpy_helper.from_array((CONSTANTS["d"] * 40).astype(np.int8), "w"),
                *ends,
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


@pytest.mark.parametrize(
    ("activation", "zero", "limits", "is_absorbed"),
    [
        ("Relu", 0, {}, True),
        ("Relu", 128, {}, False),
        ("Clip", 0, {"low": 0.0, "high": 25.5}, True),
        ("Clip", 0, {"low": 0.0, "high": 6.0}, False),
        ("Tanh", 0, {}, None),
    ],
)
def test_activations(activation, zero, limits, is_absorbed):
    pairs = _pairs(activation, zero, **limits)
    if is_absorbed is None:
        with pytest.raises(TvmqError, match="nothing of the model can be written as operators on integers"):
            to_qoperator(pairs)
        return
    made = to_qoperator(pairs)
    assert ("QLinearConv" in _operators(made)) and (activation in _operators(made)) == (not is_absorbed)
    expected, found = (tvmq.compile(model, TARGET).run({"x": X})["y"] for model in (pairs, made))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes"),
    [
        ("Softmax", ["h"], {"axis": 1}),
        ("LeakyRelu", ["h"], {"alpha": 0.2}),
        ("MatMul", ["h", "h"], {}),
        ("Transpose", ["h"], {"perm": [0, 2, 1, 3]}),
    ],
)
def test_operators_between_pairs(op_type, operands, attributes):
    graph = helper.make_graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["h"]),
            node(op_type, operands, ["a"], name="it", **attributes),
            node("Add", ["a", "a"], ["b"], name="sum"),
            node("QuantizeLinear", ["b" if op_type == "Transpose" else "a", "s", "z"], ["t"]),
            node("DequantizeLinear", ["t", "s", "z"], ["y"]),
        ],
        "between",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.float32(0.05), "s"), numpy_helper.from_array(np.uint8(100), "z")],
    )
    if op_type != "Transpose":
        del graph.node[3]
    pairs = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made = to_qoperator(pairs)
    wanted = {"Transpose": "QLinearAdd"}.get(op_type, f"QLinear{op_type}")
    assert [
        each.op_type for each in made.graph.node if each.name == ("sum" if op_type == "Transpose" else "it")
    ] == [wanted]
    assert ("Transpose" in _operators(made)) == (op_type == "Transpose")
    expected, found = (tvmq.compile(model, TARGET).run({"x": X})["y"] for model in (pairs, made))
    np.testing.assert_array_equal(found, expected)


def test_weights_beside_unsigned_data_are_unsigned():
    made = to_qoperator(_pairs("Relu", 0))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    (conv,) = (each for each in made.graph.node if each.op_type == "QLinearConv")
    stored, zero = weights[conv.input[3]], weights[conv.input[5]]
    assert stored.dtype == zero.dtype == np.uint8 and zero == 128
    np.testing.assert_array_equal(stored.astype(int) - 128, (CONSTANTS["d"] * 40).astype(np.int8))


def test_a_value_that_is_read_in_float_too():
    pairs = _pairs("Relu", 0)
    pairs.graph.node.append(node("Abs", ["a"], ["more"]))
    pairs.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, None))
    with pytest.raises(TvmqError, match="write Q and DQ, format 'qdq'"):
        to_qoperator(pairs)


def test_weights_of_four_bits():
    pairs = _pairs("Relu", 0)
    values = (CONSTANTS["d"] * 2).round().clip(-8, 7)
    tensors = {tensor.name: tensor for tensor in pairs.graph.initializer}
    four = values.astype(int).ravel().tolist()
    tensors["w"].CopyFrom(helper.make_tensor("w", TensorProto.INT4, values.shape, four))
    tensors["wz"].CopyFrom(helper.make_tensor("wz", TensorProto.INT4, [], [0]))
    pairs.opset_import[0].version = 21
    made = to_qoperator(pairs)
    assert "QLinearConv" in _operators(made) and made.opset_import[0].version == 13
    expected, found = (tvmq.compile(model, TARGET).run({"x": X})["y"] for model in (pairs, made))
    np.testing.assert_array_equal(found, expected)


def test_an_unknown_format(tmp_path):
    quantized = tvmq.QuantizedModel(tvmq.load_onnx(_source([node("Relu", ["x"], ["y"])])), "int8")
    with pytest.raises(TvmqError, match="unknown format of ONNX files 'qop'; did you mean 'qoperator'"):
        quantized.to_onnx(tmp_path / "x.onnx", "qop")
    with pytest.raises(TvmqError, match="nothing of the model can be written as operators on integers"):
        quantized.to_onnx(tmp_path / "x.onnx", "qoperator")
