"""Large outputs are handed over without a copy: they must be nobody else's."""

from __future__ import annotations

import gc

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tvmq

SHAPE = (1, 150, 150)
CONSTANT = np.random.default_rng(0).standard_normal(SHAPE).astype("float32")


@pytest.fixture(scope="module")
def package() -> tvmq.Package:
    nodes = [
        helper.make_node("Relu", ["x"], ["result"]),
        helper.make_node("Relu", ["x"], ["equal"]),
        helper.make_node("Identity", ["x"], ["input"]),
        helper.make_node("Reshape", ["x", "shape"], ["view"]),
        helper.make_node("Identity", ["c"], ["constant"]),
    ]
    outputs = [onnx.ValueInfoProto(name=node.output[0]) for node in nodes]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)],
        outputs,
        [numpy_helper.from_array(CONSTANT, "c"), numpy_helper.from_array(np.array([150, 150]), "shape")],
    )
    return tvmq.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def test_no_run_writes_to_what_another_gave(package: tvmq.Package) -> None:
    kept = [package.run(np.full(SHAPE, value, "float32")) for value in range(5)]
    for value, results in enumerate(kept):
        for name in ("result", "equal", "input", "view"):
            assert (results[name] == value).all(), name
        np.testing.assert_array_equal(results["constant"], CONSTANT)


def test_writing_to_a_result_changes_nothing_else(package: tvmq.Package) -> None:
    x = np.full(SHAPE, 3, "float32")
    for _ in range(3):
        results = package.run(x)
        for name in results:
            results[name][...] = -1
            others = {other: array for other, array in results.items() if other > name}
            assert not any(np.shares_memory(results[name], other) for other in others.values()), name
    assert (x == 3).all()
    np.testing.assert_array_equal(package.run(x)["constant"], CONSTANT)


def test_results_outlive_the_package(package: tvmq.Package) -> None:
    copy = tvmq.Package(package._library.content, package.metadata)
    kept = [copy.run(np.full(SHAPE, value, "float32"))["result"] for value in range(4)]
    del copy
    gc.collect()
    assert [float(array.mean()) for array in kept] == [0, 1, 2, 3]


def test_inputs_that_start_anywhere(package: tvmq.Package) -> None:
    room = np.arange(CONSTANT.size + 16, dtype="float32")
    for start in range(16):
        x = room[start : start + CONSTANT.size].reshape(SHAPE)
        np.testing.assert_array_equal(package.run(x)["result"], x)
