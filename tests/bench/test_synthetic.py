"""The networks with random weights: their arithmetic counted, their activations sane, the same every time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tvmq.bench import datasets, subjects, synthetic
from tvmq.bench.synthetic import Network


def _macs(model: onnx.ModelProto) -> int:
    """Return the multiplications of convolutions and matrix products at batch 1."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.output]
    }
    weights = {initializer.name: list(initializer.dims) for initializer in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        result = shapes[node.output[0]]
        if node.op_type == "Conv":
            total += math.prod(weights[node.input[1]]) * result[2] * result[3]
        elif node.op_type == "MatMul":
            total += math.prod(result) * weights[node.input[1]][0]
    return total


@pytest.mark.parametrize(
    ("make", "macs", "operators"),
    [
        (
            *(synthetic.resnet18, 1_814_073_344),
            {
                "Conv": 20,
                "Relu": 17,
                "MaxPool": 1,
                "GlobalAveragePool": 1,
                "Flatten": 1,
                "MatMul": 1,
                "Add": 9,
            },
        ),
        (
            *(synthetic.resnet50, 4_089_184_256),
            {
                "Conv": 53,
                "Relu": 49,
                "MaxPool": 1,
                "GlobalAveragePool": 1,
                "Flatten": 1,
                "MatMul": 1,
                "Add": 17,
            },
        ),
        (
            # The published 349.15 million, and what padding the first convolution adds: 112 x 112 instead of 111 x 111.
            *(synthetic.squeezenet, 349_537_280),
            {"Conv": 26, "Relu": 26, "MaxPool": 3, "Concat": 8, "GlobalAveragePool": 1, "Flatten": 1},
        ),
        (
            *(synthetic.bert, 2 * 128 * (4 * 768 * 768 + 2 * 768 * 3072)),
            {"MatMul": 12, "Add": 22, "Erf": 2, "Div": 2, "Mul": 4},
        ),
    ],
)
def test_arithmetic(make: Callable[[], onnx.ModelProto], macs: int, operators: dict[str, int]) -> None:
    model = make()
    onnx.checker.check_model(model)
    assert Counter(node.op_type for node in model.graph.node) == operators
    assert _macs(model) == macs


def test_a_network_is_the_same_every_time() -> None:
    assert synthetic.squeezenet() == synthetic.squeezenet()


@pytest.mark.parametrize("name", ["resnet18", "squeezenet", "bert"])
def test_activations_stay_sane(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tvmq[bench]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    subject = subjects.load_subject(name, 1)
    assert subject.data.labels is None and len(subject.data.samples) == 1
    session = onnxruntime.InferenceSession(subject.path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {subject.model.input: subject.data.samples})
    assert 0.1 < output.std() < 100
    # What is made once is kept.
    written = subject.path.stat().st_mtime_ns
    assert subjects.load_subject(name, 1).path.stat().st_mtime_ns == written


def test_gelu() -> None:
    net = Network("gelu", (5,))
    model = net.model(net.gelu("input"), (5,))
    values = np.array([[-3.0, -0.5, 0.0, 0.5, 3.0]], np.float32)
    (result,) = ReferenceEvaluator(model).run(None, {"input": values})
    expected = [[value * (math.erf(value / math.sqrt(2)) + 1) / 2 for value in row] for row in values]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_convolution_keeps_the_size_and_has_a_bias() -> None:
    net = Network("conv", (4, 7, 7))
    output = net.conv("input", (4, 6), 3, stride=2)
    graph = net.model(output, (6, 4, 4)).graph
    weight, bias = (onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer)
    assert weight.shape == (6, 4, 3, 3) and bias.shape == (6,)
    (node,) = graph.node
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert attributes == {"strides": [2, 2], "pads": [1, 1, 1, 1]}


@pytest.mark.parametrize("load", [datasets.random_images, datasets.random_tokens])
def test_random_samples_are_in_one_half_only(load: Callable[[Path, int], datasets.Split]) -> None:
    split = load(Path(), 3)
    assert len(split.calibration) == datasets.RANDOM_SAMPLES and len(split.samples) == 3
    known = {sample.tobytes() for sample in split.calibration}
    assert split.samples.dtype == np.float32
    assert not any(sample.tobytes() in known for sample in split.samples)
