"""Modules as ONNX files: the numbers, the names, and the integers that come back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.errors import TvmqError
from tvmq.exports import write
from tvmq.exports.write import save_onnx, to_onnx
from tvmq.frontends.onnx.load import load_onnx

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
TARGET = "llvm -mcpu=native"


@pytest.fixture(scope="module")
def samples() -> list[dict[str, np.ndarray]]:
    with np.load(DIGITS / "calibration.npz") as file:
        (name,) = file.files
        return [{name: file[name][place : place + 1]} for place in range(8)]


@pytest.fixture(scope="module", params=["int8", "w4a4"])
def quantized(request, samples) -> tvmq.QuantizedModel:
    return tvmq.quantize(str(DIGITS / "digits.onnx"), request.param, TARGET, samples)


def test_a_quantized_network(quantized, samples, tmp_path):
    quantized.to_onnx(tmp_path / "qdq.onnx")
    model, source = onnx.load(tmp_path / "qdq.onnx"), onnx.load(DIGITS / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    for own, given in ((model.graph.input, source.graph.input), (model.graph.output, source.graph.output)):
        assert [value.name for value in own] == [value.name for value in given]
    weighted = {"Conv", "Gemm", "MatMul"}
    names = {node.name for node in source.graph.node if node.op_type in weighted}
    assert names == {node.name for node in model.graph.node if node.op_type in weighted}
    kinds = Counter(tensor.data_type for tensor in model.graph.initializer)
    assert (kinds[TensorProto.INT4] > 0) == (quantized.scheme == "w4a4")

    first, again = (tvmq.compile(each, TARGET) for each in (quantized, str(tmp_path / "qdq.onnx")))
    evaluator = ReferenceEvaluator(model)
    for sample in samples:
        (expected,) = first.run(sample).values()
        (found,) = again.run(sample).values()
        np.testing.assert_array_equal(found, expected)
        (evaluated,) = evaluator.run(None, sample)
        # The evaluator rounds sums of floats: an integer now and then is its neighbour.
        cosine = np.vdot(evaluated, expected) / np.linalg.norm(evaluated) / np.linalg.norm(expected)
        assert cosine > (0.9999 if quantized.scheme == "int8" else 0.99)


X = np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype(np.float32)
CONSTANTS = {
    "w": np.random.default_rng(1).normal(size=(8, 4, 3, 3)).astype(np.float32),
    "w1": np.random.default_rng(1).normal(size=(4, 1, 3, 3)).astype(np.float32),
    "b": np.arange(8, dtype=np.float32),
    "m": np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32),
    "scale": np.linspace(0.5, 1.5, 6, dtype=np.float32),
    "shape": np.array([1, 4, 36]),
    "axes": np.array([2, 3]),
    "from": np.array([1]),
    "to": np.array([5]),
    "along": np.array([3]),
    "two": np.array([2]),
    "ids": np.array([[0, 2], [1, 3]]),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    "sizes": np.array([1, 4, 12, 12]),
    "half": np.float32(0.5),
    "slopes": np.linspace(0.1, 0.4, 4, dtype=np.float32).reshape(4, 1, 1),
    "wide": np.array([3, 4, 6, 6]),
    "halves": np.array([2, 2]),
}
NEAREST = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
NODES = {
    "convolution with bias": ("Conv", ["x", "w", "b"], {"pads": [1] * 4, "strides": [2, 2]}),
    "convolution": ("Conv", ["x", "w"], {"dilations": [2, 2]}),
    "depthwise": ("Conv", ["x", "w1"], {"group": 4}),
    "matmul": ("MatMul", ["x", "m"], {}),
    "max_pool": ("MaxPool", ["x"], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "avg_pool": ("AveragePool", ["x"], {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    "global": ("GlobalAveragePool", ["x"], {}),
    "softmax": ("Softmax", ["x"], {"axis": 1}),
    "layer_norm": ("LayerNormalization", ["x", "scale", "scale"], {"axis": -1}),
    "gelu": ("Gelu", ["x"], {}),
    "gelu tanh": ("Gelu", ["x"], {"approximate": "tanh"}),
    "reshape": ("Reshape", ["x", "shape"], {}),
    "transpose": ("Transpose", ["x"], {"perm": [0, 2, 3, 1]}),
    "mean": ("ReduceMean", ["x", "axes"], {"keepdims": 0}),
    "maximum": ("ReduceMax", ["x", "axes"], {"keepdims": 1}),
    "slice": ("Slice", ["x", "from", "to", "along", "two"], {}),
    "gather": ("Gather", ["x", "ids"], {"axis": 1}),
    "pad": ("Pad", ["x", "pads", "half"], {}),
    "reflect": ("Pad", ["x", "pads"], {"mode": "reflect"}),
    "resize": ("Resize", ["x", "", "", "sizes"], {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
    "nearest": ("Resize", ["x", "", "", "sizes"], NEAREST),
    "leaky": ("LeakyRelu", ["x"], {"alpha": 0.2}),
    "prelu": ("PRelu", ["x", "slopes"], {}),
    "clip": ("Clip", ["x", "", "half"], {}),
    "expand": ("Expand", ["x", "wide"], {}),
    "argmax": ("ArgMax", ["x"], {"axis": 1, "keepdims": 0}),
    "cast": ("Cast", ["x"], {"to": TensorProto.INT32}),
    "power": ("Pow", ["x", "two"], {}),
    "greater": ("GreaterOrEqual", ["x", "half"], {}),
    "concat": ("Concat", ["x", "x"], {"axis": 1}),
    "tanh": ("Tanh", ["x"], {}),
    "rms": ("RMSNormalization", ["x", "scale"], {"axis": -1}),
}  # fmt: skip


def one_operator(op_type: str, inputs: list[str], attributes: dict, outputs: int = 1) -> onnx.ModelProto:
    made = [f"y{place}" for place in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op_type, inputs, made, name="the node", **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [onnx.ValueInfoProto(name=name) for name in made],
        [
            numpy_helper.from_array(CONSTANTS[name], name)
            for name in dict.fromkeys(inputs)
            if name in CONSTANTS
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


@pytest.mark.parametrize("name", NODES)
def test_operators(name):
    op_type, inputs, attributes = NODES[name]
    source = one_operator(op_type, inputs, attributes)
    made = to_onnx(load_onnx(source))
    onnx.checker.check_model(made, full_check=True)
    (expected,), (found,) = (ReferenceEvaluator(each).run(None, {"x": X}) for each in (source, made))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert any(node.name == "the node" for node in made.graph.node)


def test_several_outputs_and_an_input_that_is_one():
    source = one_operator("Split", ["x", "halves"], {"axis": 1}, outputs=2)
    source.graph.output.append(onnx.ValueInfoProto(name="x"))
    made = to_onnx(load_onnx(source))
    assert len({value.name for value in (*made.graph.input, *made.graph.output)}) >= 3
    found = ReferenceEvaluator(made).run(None, {made.graph.input[0].name: X})
    for one, other in zip(found, [X[:, :2], X[:, 2:], X], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_form_is_named():
    source = one_operator("CumSum", ["x", "from"], {})
    with pytest.raises(TvmqError, match=r"node 'the node' \(relax.cumsum\) cannot be written as ONNX"):
        to_onnx(load_onnx(source))


def test_large_weights_lie_beside_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(write, "LARGEST_FILE", 100)
    source = one_operator(*NODES["convolution"])
    for _ in range(2):  # the second takes the place of the first
        save_onnx(to_onnx(load_onnx(source)), tmp_path / "big.onnx")
    assert (tmp_path / "big.onnx.data").stat().st_size < 2 * CONSTANTS["w"].nbytes
    assert {path.name for path in tmp_path.iterdir()} == {"big.onnx", "big.onnx.data"}
    assert (tmp_path / "big.onnx.data").stat().st_size >= CONSTANTS["w"].nbytes
    (found,) = ReferenceEvaluator(str(tmp_path / "big.onnx")).run(None, {"x": X})
    (expected,) = ReferenceEvaluator(source).run(None, {"x": X})
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(TvmqError, match="cannot be written: "):
        save_onnx(to_onnx(load_onnx(one_operator(*NODES["tanh"]))), tmp_path / "none" / "model.onnx")


def test_scales_of_rows_come_back_as_such():
    weight = numpy_helper.from_array(np.random.default_rng(4).normal(size=(16, 24)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 24])],
        [weight],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    quantized = tvmq.quantize(source, "dynamic", TARGET)
    again = tvmq.compile(to_onnx(quantized.mod), TARGET)
    assert "dynamic" in {layer["status"] for layer in again.metadata["layers"]}
    x = np.random.default_rng(5).normal(size=(5, 16)).astype(np.float32)
    expected = tvmq.compile(quantized, TARGET).run({"x": x})["y"]
    np.testing.assert_array_equal(again.run({"x": x})["y"], expected)
