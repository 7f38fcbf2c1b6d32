"""The files that are mutated: small, real, and of every operator.

Every node test of ONNX is a model of one operator, and its data are good constants. Beside them stand small networks of
what exporters write, and real ones, among them the repository's example.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from formats import ONNX, TFLITE, Format
from onnx import TensorProto, helper, numpy_helper
from quantized_bases import networks as quantized_networks
from tflite_bases import files as tflite_files

LARGEST_FILE = 40_000
"""Bytes of a model whose compilation costs little."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Base:
    """A model file, and how often it is taken beside others."""

    name: str
    content: bytes
    weight: float = 1.0
    format: Format = ONNX


def all_bases() -> list[Base]:
    """Return every base; the order is always the same."""
    tflite = [Base(name, content, 1.0, TFLITE) for name, content in tflite_files().items()]
    return [*networks(), *real_files(), *node_tests(), *tflite]


def node_tests() -> list[Base]:
    """Return ONNX's node tests, each with its inputs behind the first as constants, and some as they are."""
    from onnx.backend.test.loader import load_model_tests

    from tvmq.frontends.onnx.converters.table import can_convert

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    found = []
    for index, case in enumerate(cases):
        if case.model is None or case.model.ByteSize() > LARGEST_FILE or not case.data_sets:
            continue
        if not all(can_convert(node.domain, node.op_type) for node in case.model.graph.node):
            continue
        model = case.model if index % 4 == 0 else _with_constants(case.model, case.data_sets[0][0])
        found.append(Base(case.name, model.SerializeToString(), 0.1))
    return found


def _with_constants(model: onnx.ModelProto, values: Sequence[np.ndarray]) -> onnx.ModelProto:
    """Return the model with the inputs behind its first as initializers, where they are arrays of numbers."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value, array in list(zip(changed.graph.input, values, strict=False))[1:]:
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
            changed.graph.initializer.append(numpy_helper.from_array(array, value.name))
            changed.graph.input.remove(value)
    return changed


def real_files() -> list[Base]:
    """Return real models, as far as they are there: the example, and those of ``TVMQ_DATA``."""
    data = Path(os.environ.get("TVMQ_DATA", ROOT.parent / "shared" / "data"))
    paths = [ROOT / "examples/digits/digits.onnx", data / "models/mnist_cnn_fp32.onnx"]
    return [Base(path.stem, path.read_bytes(), 2.0) for path in paths if path.is_file()]


def networks() -> list[Base]:
    """Return small networks: residuals, attention, shapes that are computed, control flow, all forms of integers."""
    made = {
        "convolutions": _convolutions(),
        "quantized": _quantized(),
        "attention": _attention(),
        "computed_shapes": _computed_shapes(),
        "branch": _branch(),
        "loop": _loop(),
        "blocks": _blocks(),
        **quantized_networks(),
    }
    return [Base(name, model.SerializeToString(), 20.0) for name, model in made.items()]


def _model(nodes, shape, constants, opset=17) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
            for name, value in constants.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _convolutions() -> onnx.ModelProto:
    node = helper.make_node
    return _model(
        [
            node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("Conv", ["r", "d"], ["e"], group=4, strides=[2, 2]),
            node("MaxPool", ["r"], ["m"], kernel_shape=[3, 3], strides=[2, 2]),
            node("Add", ["e", "m"], ["a"]),
            node("GlobalAveragePool", ["a"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("Gemm", ["f", "g"], ["s"], transB=1),
            node("Softmax", ["s"], ["y"]),
        ],
        (1, 3, 7, 7),
        {
            "w": _weights(4, 3, 3, 3),
            "b": _weights(4),
            "v": np.ones(4, np.float32),
            "d": _weights(4, 1, 3, 3),
            "g": _weights(5, 4),
        },
    )


def _quantized() -> onnx.ModelProto:
    node = helper.make_node
    return _model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["h"]),
            node("DequantizeLinear", ["w", "t", "u"], ["v"], axis=0),
            node("Conv", ["h", "v"], ["c"]),
            node("QuantizeLinear", ["c", "s", "z"], ["p"]),
            node("DequantizeLinear", ["p", "s", "z"], ["y"]),
        ],
        (1, 3, 5, 5),
        {
            "s": np.array(0.1, np.float32),
            "z": np.array(128, np.uint8),
            "w": np.random.default_rng(1).integers(-127, 127, (4, 3, 3, 3)).astype(np.int8),
            "t": np.full(4, 0.01, np.float32),
            "u": np.zeros(4, np.int8),
        },
    )


def _attention() -> onnx.ModelProto:
    node = helper.make_node
    return _model(
        [
            node("LayerNormalization", ["x", "scale"], ["n"]),
            node("MatMul", ["n", "w"], ["q"]),
            node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["q", "k"], ["s"]),
            node("Softmax", ["s"], ["p"], axis=-1),
            node("MatMul", ["p", "q"], ["o"]),
            node("Gelu", ["o"], ["g"]),
            node("Add", ["g", "x"], ["y"]),
        ],
        (1, 4, 8),
        {"scale": np.ones(8, np.float32), "w": _weights(8, 8)},
        opset=20,
    )


def _computed_shapes() -> onnx.ModelProto:
    node = helper.make_node
    return _model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "first"], ["batch"]),
            node("Concat", ["batch", "rest"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["flat"]),
            node("ConstantOfShape", ["shape"], ["zeros"]),
            node("Range", ["from", "to", "from1"], ["grid"]),
            node("Cast", ["grid"], ["gridf"], to=TensorProto.FLOAT),
            node("Add", ["flat", "gridf"], ["moved"]),
            node("Slice", ["moved", "first", "end", "axis"], ["cut"]),
            node("Resize", ["x", "", "", "size"], ["big"]),
            node("ReduceMean", ["big"], ["mean"], keepdims=0),
            node("Pad", ["cut", "pads"], ["padded"]),
            node("Add", ["padded", "mean"], ["y"]),
        ],
        (1, 2, 3, 3),
        {
            "first": np.array([0]),
            "rest": np.array([-1]),
            "from": np.array(0),
            "from1": np.array(1),
            "to": np.array(18),
            "end": np.array([9]),
            "axis": np.array([1]),
            "size": np.array([1, 2, 6, 6]),
            "pads": np.array([0, 1, 0, 1]),
        },
    )


def _branch() -> onnx.ModelProto:
    node = helper.make_node
    result = [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    branches = {
        name: helper.make_graph([node(op, ["x"], ["r"])], name, [], result)
        for name, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    return _model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Size", ["shape"], ["rank"]),
            node("Equal", ["rank", "two"], ["same"]),
            node("If", ["same"], ["y"], **branches),
        ],
        (2, 3),
        {"two": np.array(2)},
    )


def _loop() -> onnx.ModelProto:
    node = helper.make_node
    body = helper.make_graph(
        [
            node("Add", ["s", "x"], ["next"]),
            node("Identity", ["go"], ["on"]),
            node("Relu", ["next"], ["each"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("each", TensorProto.FLOAT, None),
        ],
    )
    return _model(
        [
            node("Loop", ["count", "", "x"], ["last", "all"], body=body),
            node("ReduceSum", ["all", "axes"], ["sum"], keepdims=0),
            node("Add", ["last", "sum"], ["y"]),
        ],
        (2, 3),
        {"count": np.array(3), "axes": np.array([0])},
    )


def _blocks() -> onnx.ModelProto:
    node = helper.make_node
    values = np.random.default_rng(2).integers(-8, 8, 32 * 4).tolist()
    return _model(
        [
            node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=16),
            node("MatMul", ["x", "w"], ["h"]),
            node("DequantizeLinear", ["r", "t"], ["v"], axis=1),
            node("MatMul", ["h", "v"], ["y"]),
        ],
        (2, 32),
        {
            "q": helper.make_tensor("q", TensorProto.INT4, [32, 4], values),
            "s": np.full((2, 4), 0.1, np.float32),
            "r": helper.make_tensor("r", TensorProto.INT4, [4, 3], values[:12]),
            "t": np.full(3, 0.1, np.float32),
        },
        opset=21,
    )
