"""Binary networks run on bits, and give what ONNX's reference gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tvmq

from ..binary_networks import FORMS, SHAPE, binary_network

TARGETS = ("llvm -mcpu=znver3", "llvm -mcpu=skylake-avx512", "llvm -mcpu=znver4")


def images(count=3):
    return np.random.default_rng(1).standard_normal((count, *SHAPE)).astype(np.float32)


def statuses(package):
    return {layer["name"]: layer["status"] for layer in package.metadata["layers"]}


def run_here(model, target):
    package = tvmq.compile(model, target)
    try:
        return package, np.stack([package.run({"x": image})["y"] for image in images()])
    except tvmq.TvmqError as error:
        if "this machine's CPU lacks" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_sign(form):
    model = binary_network(form)
    reference = ReferenceEvaluator(model)
    package, results = run_here(model, TARGETS[0])
    expected = np.stack([reference.run(None, {"x": image})[0] for image in images()])
    np.testing.assert_allclose(results, expected, atol=1e-4)
    of_convolutions = [
        status for name, status in statuses(package).items() if name.startswith(("conv", "gemm"))
    ]
    assert of_convolutions == ["float", *["binary"] * 5]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (15, 1), (32, 1), (12, 3), (14, 2)])
def test_channels_and_groups(target, channels, groups):
    model = binary_network("where", channels, groups)
    reference = ReferenceEvaluator(model)
    _, results = run_here(model, target)
    expected = np.stack([reference.run(None, {"x": image})[0] for image in images()])
    np.testing.assert_allclose(results, expected, atol=1e-4)


def test_pooling_and_batch_norm_behind_a_layer_are_part_of_its_bits():
    package, _ = run_here(binary_network("where"), TARGETS[0])
    pooled = [layer for layer in package.metadata["layers"] if layer["op"] == "MaxPool"]
    assert [layer["status"] for layer in pooled] == ["binary"]
    kernels = [call.kernel for call in package.profile({"x": images()[0]}, 1)]
    assert any("bpool" in kernel for kernel in kernels)
    assert not any(kernel.startswith("max_pool") for kernel in kernels)


def test_int8_leaves_what_decides_bits_in_float():
    model = binary_network("where")
    quantized = tvmq.quantize(model, "int8", TARGETS[0], calibration=[{"x": image} for image in images()])
    by_name = {layer.name: layer for layer in quantized.layers}
    convolutions = [layer for layer in by_name.values() if layer.op == "Conv"]
    assert [layer.status for layer in convolutions] == ["int8", *["binary"] * 4]
    package = tvmq.compile(quantized, TARGETS[0])
    assert [layer["status"] for layer in package.metadata["layers"] if layer["op"] == "Conv"] == [
        "int8",
        *["binary"] * 4,
    ]


def test_weights_lie_in_the_package_as_bits():
    package, _ = run_here(binary_network("where", channels=32), TARGETS[0])
    layers = [layer for layer in package.metadata["layers"] if layer["status"] == "binary"]
    sizes = [layer["details"]["weight_bytes"] for layer in layers if "weight_bytes" in layer["details"]]
    assert sizes[:2] == [32 * 32 * 9 // 8] * 2
    assert all(layer["details"]["weight_bits"] == 1 for layer in layers if "weight_bytes" in layer["details"])


def test_a_tie_is_decided_as_in_float32():
    """Sums that reach the threshold exactly: the step is at 0, and biases are whole numbers of steps."""
    rng = np.random.default_rng(0)
    weight, dense = rng.choice([-1.0, 1.0], (8, 6)), rng.choice([-1.0, 1.0], (6, 4))
    bias = rng.integers(-4, 5, 6).astype(np.float32)
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    ties (float[5,8] x) => (float[5,4] y)
    <float zero = {0}, float one = {1}, float minus = {-1}>
    {
        g = GreaterOrEqual(x, zero)
        s = Where(g, one, minus)
        a = MatMul(s, w)
        b = Add(a, c)
        h = GreaterOrEqual(b, zero)
        t = Where(h, one, minus)
        y = MatMul(t, v)
    }
    """
    model = onnx.parser.parse_model(text)
    for name, value in (("w", weight), ("c", bias), ("v", dense)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    x = rng.standard_normal((5, 8)).astype(np.float32)
    assert ((np.where(x >= 0, 1, -1) @ weight + bias) == 0).any()
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_array_equal(tvmq.compile(model).run({"x": x})["y"], expected)
