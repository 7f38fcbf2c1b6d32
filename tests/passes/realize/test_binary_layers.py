"""Binary networks run on bits, and give what ONNX's reference gives."""

from __future__ import annotations

import gzip
from functools import cache

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.targets import host
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

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
    # A CPU that lacks instructions can still compile for them: one of the networks shows it.
    lacks = host.missing_features("x86_64", row_of(parse_target(target)).features)
    if lacks and (channels, groups) != (12, 3):
        pytest.skip(f"this machine's CPU lacks {', '.join(lacks)}")
    model = binary_network("where", channels, groups)
    reference = ReferenceEvaluator(model)
    _, results = run_here(model, target)
    expected = np.stack([reference.run(None, {"x": image})[0] for image in images()])
    np.testing.assert_allclose(results, expected, atol=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (32, 1), (12, 3), (32, 2)])
def test_gpus(gpu_target, channels, groups):
    """Shortcuts, pooling, strides, batch norms, groups: as ONNX's reference has them."""
    model = binary_network("where", channels, groups)
    reference = ReferenceEvaluator(model)
    package, results = run_here(model, gpu_target)
    expected = np.stack([reference.run(None, {"x": image})[0] for image in images()])
    np.testing.assert_allclose(results, expected, atol=1e-4)
    assert [*statuses(package).values()].count("binary") >= 5


@cache
def bits_alone(rows: int) -> tuple[onnx.ModelProto, np.ndarray, dict[str, np.ndarray]]:
    """Return a network of layers of bits, an input of so many images, and what the CPU makes of it."""
    rng = np.random.default_rng(0)
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    bits (float[ROWS,1,9,75] x) => (float[ROWS,20,9,75] y, float[ROWS,24,5,38] z)
    <float one = {1}, float zero = {0}, float minus = {-1}>
    {
        a = GreaterOrEqual(x, zero)
        b = Where(a, one, minus)
        c = Conv<pads = [1, 1, 1, 1]>(b, w0)
        d = GreaterOrEqual(c, zero)
        e = Where(d, one, minus)
        y = Conv<pads = [1, 1, 1, 1], group = 2>(e, w1)
        f = GreaterOrEqual(y, one)
        g = Where(f, one, minus)
        z = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(g, w2)
    }
    """
    model = onnx.parser.parse_model(text.replace("ROWS", str(rows)))
    for name, shape in (("w0", (22, 1, 3, 3)), ("w1", (20, 11, 3, 3)), ("w2", (24, 20, 3, 3))):
        weight = rng.choice([-1.0, 1.0], shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    x = rng.standard_normal((rows, 1, 9, 75)).astype(np.float32)
    return model, x, tvmq.compile(model, TARGETS[0]).run({"x": x})


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_layers_of_bits_alone_on_gpus(gpu_target, rows):
    """Sums are whole numbers, so nothing rounds: the results are those of the CPU, bit for bit."""
    model, x, expected = bits_alone(rows)
    found = tvmq.compile(model, gpu_target).run({"x": x})
    for name in ("y", "z"):
        np.testing.assert_array_equal(found[name], expected[name])


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


@pytest.mark.parametrize("name", ["TFC_1W1A_std", "qonnx_TFC_1W1A"])
def test_a_network_of_the_finn_zoo(data_dir, name):
    """It recognizes 92.96 % of MNIST's test images; each image here has the class that the float model gives it."""
    path = data_dir / f"bnn/{name}.onnx"
    images = data_dir / "mnist/t10k-images-idx3-ubyte.gz"
    if not (path.is_file() and images.is_file()):
        pytest.skip(f"no {path} or {images}")
    with gzip.open(images) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(data_dir / "mnist/t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    package = tvmq.compile(path, TARGETS[0])
    assert [s for s in statuses(package).values() if s == "binary"] == ["binary"] * 4
    scores = np.concatenate(
        [package.run((image[None] / np.float32(255)).astype(np.float32))["74"] for image in pixels]
    )
    assert np.mean(scores.argmax(1) == labels) == 0.9296
    if name == "TFC_1W1A_std":
        expected = _tfc(onnx.load(path), pixels.reshape(len(pixels), -1) / np.float32(255))
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["TFC_1W1A_std", "qonnx_TFC_1W1A"])
def test_a_network_of_the_finn_zoo_on_gpus(data_dir, gpu_target, name):
    path = data_dir / f"bnn/{name}.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    cpu, found = (tvmq.compile(path, target) for target in (TARGETS[0], gpu_target))
    for pixels in np.random.default_rng(0).random((20, 1, 1, 28, 28)).astype(np.float32):
        np.testing.assert_array_equal(found.run(pixels)["74"], cpu.run(pixels)["74"])


def _tfc(model, x):
    """Return the network's scores in NumPy."""
    given = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    x = 2 * x - 1
    for layer, weight in (("3", "40"), ("7", "48"), ("11", "56")):
        scale, bias, mean, variance = (
            given[f"features.{layer}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        sums = np.where(x >= 0, np.float32(1), np.float32(-1)) @ given[weight].T
        x = scale * (sums - mean) / np.sqrt(variance + np.float32(1e-5)) + bias
    scale, bias, mean = (given[f"features.15.{part}"] for part in ("weight", "bias", "running_mean"))
    sums = np.where(x >= 0, np.float32(1), np.float32(-1)) @ given["64"].T
    return (sums - mean) / np.sqrt(given["76"]) * scale + bias
