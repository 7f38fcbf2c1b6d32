"""Batches of models that were exported for one image."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tvmq.bench import throughput
from tvmq.bench.throughput import Row, table_of, with_batch


def model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "flat"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ],
        "flat",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 3))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 4))],
        [
            numpy_helper.from_array(np.array([1, 6]), "flat"),
            numpy_helper.from_array(np.arange(24, dtype="float32").reshape(6, 4), "w"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_batch_is_its_images() -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype("float32")
    (together,) = ReferenceEvaluator(with_batch(model(), 5)).run(None, {"x": x})
    alone = [ReferenceEvaluator(model()).run(None, {"x": image[None]})[0] for image in x]
    # NumPy adds up a product of one row in another order than one of five: six terms of at most 100.
    np.testing.assert_allclose(together, np.concatenate(alone), atol=6 * 100 * 2.0**-23)
    assert onnx.numpy_helper.to_array(model().graph.initializer[0])[0] == 1


def test_table() -> None:
    table = table_of([Row("net", "tvmq int8", {1: 10.0, 8: None, 32: 20.5})])
    assert table.rows == [("net", "tvmq int8", "10.0", "-", "20.5", "20.5")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--batches", "0"], "expected positive"), (["--models", "none.onnx"], "no file none.onnx")],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys) -> None:
    assert throughput.main(arguments) != 0
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
