"""Tasks: kernels with an accumulator, each once, whatever their constants."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tvmq import api


def two_layers():
    """Return a model of two equal convolutions with relus, of other weights, and a softmax."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(8, 8, 3, 3)).astype(np.float32) for _ in range(2)]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"], name="relu2"),
        helper.make_node("Softmax", ["d"], ["y"], name="softmax", axis=1),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 6, 6]) for name in ("x", "y")]
    initializers = [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_equal_kernels_are_one_task():
    (task,) = api.tuning_tasks(two_layers())
    assert task.calls == 2
    assert {"first", "second"} <= set(task.layers) and "softmax" not in task.layers
    # Rows and channels of whole tiles: 6 x 6 positions, 8 or 16 lanes, 3 x 3 taps, 8 input channels.
    assert task.macs in (6 * 6 * 8 * 9 * 8, 6 * 6 * 16 * 9 * 8)


def test_calibration_does_not_change_the_tasks():
    """The numbers of a calibration are inside the kernels, and records must be found whatever they are."""
    hashes = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        samples = [{"x": (rng.normal(size=(1, 8, 6, 6)) * seed + 1).astype(np.float32)}]
        quantized = api.quantize(two_layers(), calibration=samples)
        hashes.append([task.hash for task in api.tuning_tasks(quantized)])
    assert hashes[0] == hashes[1] and hashes[0]


def test_every_weighted_layer_of_the_example_is_in_a_task(tasks, quantized):
    weighted = {layer.name for layer in quantized.layers if layer.op in ("Conv", "Gemm", "MatMul")}
    assert weighted and weighted <= {name for task in tasks for name in task.layers}
