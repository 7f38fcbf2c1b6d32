"""Small models of open dimensions, and what the same model gives at one size."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tvmq

TARGET = "llvm -mcpu=znver3 -num-cores=1"
OPSET = helper.make_opsetid("", 17)
WIDTH, HEADS, TABLE = 24, 3, 80


class Draft:
    """A graph that grows node by node; ``draft("Add", a, b)`` returns the name of the result."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(seed)

    def __call__(self, op: str, *inputs: str | np.ndarray, outputs: int = 1, **attributes) -> str:
        names = [self.constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        results = [f"{op.lower()}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(
            helper.make_node(op, names, results, f"{op.lower()}_{len(self.nodes)}", **attributes)
        )
        return results[0]

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int) -> np.ndarray:
        return (self._random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    def model(
        self, inputs: dict[str, tuple[int, list[int | str]]], outputs: dict[str, list[int | str]]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in inputs.items()],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            self.tensors,
        )
        return helper.make_model(graph, opset_imports=[OPSET], ir_version=8)


def perceptron() -> onnx.ModelProto:
    """x [N, 24] -> two layers -> [N, 10]."""
    draft = Draft()
    hidden = draft("Relu", draft("Add", draft("MatMul", "x", draft.weight(24, 40)), draft.weight(40)))
    result = draft("Add", draft("MatMul", hidden, draft.weight(40, 10)), draft.weight(10))
    return draft.model({"x": (TensorProto.FLOAT, ["N", 24])}, {result: ["N", 10]})


def encoder(positions: bool = True) -> onnx.ModelProto:
    """ids, mask [N, S] -> embeddings, positions by the shape of ids, one layer of attention and GELU -> [N, S, 24], and
    the mean over tokens up to the mask [N, 24].
    """
    draft = Draft(1)
    shape = draft("Shape", "ids")
    length = draft("Gather", shape, np.asarray([1], np.int64), axis=0)
    hidden = draft("Gather", draft.weight(50, WIDTH), "ids", axis=0)
    if positions:
        zero = np.asarray([0], np.int64)
        table = draft("Slice", draft.weight(TABLE, WIDTH), zero, length, zero)
        hidden = draft("Add", hidden, table)
    hidden = draft("LayerNormalization", hidden, draft.weight(WIDTH) + 1, draft.weight(WIDTH))
    mask = draft("Cast", "mask", to=TensorProto.FLOAT)
    penalty = draft(
        "Unsqueeze", draft("Sub", np.float32(1) * np.ones(1, np.float32), mask), np.asarray([1, 2])
    )
    penalty = draft("Mul", penalty, np.asarray([-10000], np.float32))
    heads = np.asarray([0, 0, HEADS, WIDTH // HEADS], np.int64)

    def projected(order: list[int]) -> str:
        product = draft("Add", draft("MatMul", hidden, draft.weight(WIDTH, WIDTH)), draft.weight(WIDTH))
        return draft("Transpose", draft("Reshape", product, heads), perm=order)

    scores = draft("MatMul", projected([0, 2, 1, 3]), projected([0, 2, 3, 1]))
    shares = draft(
        "Softmax", draft("Add", draft("Div", scores, np.asarray([2.8], np.float32)), penalty), axis=-1
    )
    mixed = draft("Transpose", draft("MatMul", shares, projected([0, 2, 1, 3])), perm=[0, 2, 1, 3])
    mixed = draft("Reshape", mixed, np.asarray([0, 0, WIDTH], np.int64))
    hidden = draft("Add", draft("MatMul", mixed, draft.weight(WIDTH, WIDTH)), hidden)
    wide = draft("MatMul", hidden, draft.weight(WIDTH, 40))
    gate = draft(
        "Add", draft("Erf", draft("Div", wide, np.asarray([1.414], np.float32))), np.ones(1, np.float32)
    )
    hidden = draft("Add", draft("MatMul", draft("Mul", wide, gate), draft.weight(40, WIDTH)), hidden)
    weights = draft("Unsqueeze", mask, np.asarray([2]))
    total = draft("ReduceSum", draft("Mul", hidden, weights), np.asarray([1]), keepdims=0)
    mean = draft("Div", total, draft("ReduceSum", weights, np.asarray([1]), keepdims=0))
    ids = {name: (TensorProto.INT64, ["N", "S"]) for name in ("ids", "mask")}
    return draft.model(ids, {hidden: ["N", "S", WIDTH], mean: ["N", WIDTH]})


def images() -> onnx.ModelProto:
    """image [N, 3, 12, 12] -> two convolutions, one of them depthwise, pooling, a product -> [N, 5]."""
    draft = Draft(2)
    value = draft("Conv", "image", draft.weight(16, 3, 3, 3), draft.weight(16), pads=[1] * 4, strides=[2, 2])
    value = draft("Relu", value)
    value = draft(
        "Relu", draft("Conv", value, draft.weight(16, 1, 3, 3), draft.weight(16), group=16, pads=[1] * 4)
    )
    value = draft("Add", draft("Conv", value, draft.weight(16, 16, 1, 1), draft.weight(16)), value)
    value = draft("Flatten", draft("GlobalAveragePool", value))
    result = draft("Gemm", value, draft.weight(16, 5), draft.weight(5))
    return draft.model({"image": (TensorProto.FLOAT, ["N", 3, 12, 12])}, {result: ["N", 5]})


def tokens(batch: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs of ``encoder``; the last fifth is masked."""
    random = np.random.default_rng(seed)
    mask = np.ones((batch, length), np.int64)
    mask[:, length - length // 5 :] = 0
    return {"ids": random.integers(0, 50, (batch, length)), "mask": mask}


def at_one_size(
    model: onnx.ModelProto, inputs: dict[str, np.ndarray], target: str = TARGET
) -> dict[str, np.ndarray]:
    """Return what a package for just these inputs' shapes gives."""
    shapes = {name: array.shape for name, array in inputs.items()}
    return tvmq.compile(model, target, input_shapes=shapes).run(inputs)
