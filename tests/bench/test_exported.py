"""Files for other runtimes and of other tools: what is measured of them, on the digits example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmq.bench import exported, foreign
from tvmq.bench.exported import Task

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> Task:
    images = np.load(DIGITS / "calibration.npz")["image"]
    feeds = [{"image": image[None]} for image in images[:12]]
    shapes = {"image": feeds[0]["image"].shape}
    return Task(DIGITS / "digits.onnx", shapes, feeds[:8], feeds[8:], lambda outputs: 0.0, "top-1")


def test_ranks():
    np.testing.assert_array_equal(exported._ranks(np.array([3.0, 1.0, 3.0, 2.0])), [3.5, 1, 3.5, 2])


@pytest.mark.parametrize(("last", "step"), [("DequantizeLinear", 0.25), ("Relu", 1.0)])
def test_the_step_of_an_output(last, step):
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["h"]),
            *([helper.make_node("Relu", ["h"], ["r"])] if last == "Relu" else []),
            helper.make_node("Flatten", ["r" if last == "Relu" else "h"], ["y"]),
        ],
        "pairs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.float32(0.25), "s"), numpy_helper.from_array(np.uint8(1), "z")],
    )
    assert foreign.step_of(helper.make_model(graph), 127.0) == step


def test_a_model_of_another_tool(digits, tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install 'tvmq[bench]'")
    path = tmp_path / "model.onnx"
    foreign.VARIANTS["scales of powers of two"](onnx.load(digits.path), list(digits.calibration), path)
    _, furthest, within, same = foreign.differences(path, digits, 4)
    assert furthest <= 2 and within > 0.9 and same == 1
    made = onnx.load(path)
    pairs = [node for node in made.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales = {node.input[1] for node in pairs}
    for tensor in made.graph.initializer:
        if tensor.name in scales:
            exponents = np.log2(numpy_helper.to_array(tensor))
            np.testing.assert_array_equal(exponents, np.rint(exponents))
