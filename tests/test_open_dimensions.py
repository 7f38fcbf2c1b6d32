"""A package of open dimensions gives for every size what a package for that size does, and refuses others."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tests.open_models import TARGET, at_one_size, encoder, images, perceptron, tokens
from tvmq.api import tuning_tasks
from tvmq.errors import TvmqError
from tvmq.passes.hub.open_dims import at
from tvmq.passes.realize.compute.product import PACKING_ROWS


def assert_same(found, expected, atol=0.0):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=atol)


def order_of_sums(length):
    """Return the tolerance: of few queries a static model's attention adds scores up in another order.

    Scores of some units are off by 2**-22, and so are the layer norms' results behind them, which are below 8.
    """
    return 2.0**-18 if length < PACKING_ROWS else 0.0


def test_rows_of_a_perceptron():
    model = perceptron()
    package = tvmq.compile(model, TARGET, input_shapes={"N": "1..100"})
    for rows in (1, 2, 3, 7, 63, 64, 65, 100):
        x = np.random.default_rng(rows).standard_normal((rows, 24)).astype(np.float32)
        assert_same(package.run(x), at_one_size(model, {"x": x}))


@pytest.fixture(scope="module")
def tokens_package():
    return tvmq.compile(encoder(), TARGET, input_shapes={"ids": [1, "1..80"], "mask": (1, tvmq.Range(1, 80))})


@pytest.mark.parametrize("length", [1, 2, 7, 9, 33, 80])
def test_lengths_of_an_encoder(tokens_package, length):
    inputs = tokens(1, length)
    assert_same(tokens_package.run(inputs), at_one_size(encoder(), inputs), order_of_sums(length))


def test_batches_and_lengths_of_an_encoder():
    package = tvmq.compile(encoder(), TARGET, input_shapes={"N": (1, 5), "S": (2, 40)})
    for batch, length in ((1, 2), (2, 9), (5, 40), (3, 16)):
        inputs = tokens(batch, length)
        assert_same(package.run(inputs), at_one_size(encoder(), inputs), order_of_sums(length))


def test_threads_share_a_package_of_any_length():
    package = tvmq.compile(encoder(), "llvm -mcpu=znver3 -num-cores=2", input_shapes={"N": 1, "S": "1..80"})
    inputs = tokens(1, 80)
    assert_same(package.run(inputs), at_one_size(encoder(), inputs))


def test_batches_of_images():
    model = images()
    package = tvmq.compile(model, TARGET, input_shapes={"N": "1..6"})
    for count in (1, 2, 5, 6):
        image = np.random.default_rng(count).random((count, 3, 12, 12), np.float32)
        assert_same(package.run({"image": image}), at_one_size(model, {"image": image}))


def at_size(quantized, **sizes):
    """Return the package of a quantized model at one size."""
    return tvmq.compile(tvmq.QuantizedModel(at(quantized.mod, sizes), quantized.scheme), TARGET)


def test_integers_of_images():
    random = np.random.default_rng(0)
    samples = [{"image": random.random((count, 3, 12, 12), np.float32)} for count in (1, 3, 6)]
    quantized = tvmq.quantize(images(), "int8", TARGET, samples, input_shapes={"N": "1..6"})
    package = tvmq.compile(quantized, TARGET)
    for count in (1, 4, 6):
        image = random.random((count, 3, 12, 12), np.float32)
        assert_same(package.run(image), at_size(quantized, N=count).run(image))


def test_integers_of_an_encoder_from_samples_of_several_lengths():
    samples = [tokens(1, length, length) for length in (5, 17, 40, 80)]
    quantized = tvmq.quantize(encoder(), "int8", TARGET, samples, input_shapes={"N": 1, "S": "1..80"})
    package = tvmq.compile(quantized, TARGET)
    assert "int8" in {layer.status for layer in quantized.layers} | {
        layer["status"] for layer in package.metadata["layers"]
    }
    for length in (1, 9, 80):
        inputs = tokens(1, length)
        assert_same(package.run(inputs), at_size(quantized, S=length).run(inputs))
    near = quantized.against_float(package)
    assert near is not None and near.samples == 4
    report = quantized.report(samples, package=package)
    assert report.tensors


def test_metadata_has_ranges_and_the_greatest_shapes(tokens_package):
    metadata = tokens_package.metadata
    assert metadata["dimensions"] == {"S": [1, 80]}
    ids = metadata["inputs"][0]
    assert (ids["name"], ids["shape"], ids["open"]) == ("ids", [1, 80], {"1": "S"})
    assert [tensor["shape"] for tensor in metadata["outputs"]] == [[1, 80, 24], [1, 24]]
    assert metadata["bytes"]["activations"] > 0


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ((1, 90), (1, 90), r"input 'ids' has 90 in dimension 1 \(S\); this package takes 1 to 80"),
        ((1, 0), (1, 0), r"input 'ids' has 0 in dimension 1 \(S\); this package takes 1 to 80"),
        (
            (1, 7),
            (1, 8),
            r"input 'mask' has 8 in dimension 1 \(S\), and input 'ids' has 7 there; they must agree",
        ),
        ((2, 7), (2, 7), r"input 'ids' has shape \[2, 7\]; expected \[1, 7\]"),
        ((7,), (7,), r"input 'ids' has shape \[7\]; expected \[1, 80\]"),
    ],
)
def test_other_shapes_are_refused(tokens_package, ids, mask, message):
    with pytest.raises(TvmqError, match=message):
        tokens_package.run({"ids": np.zeros(ids, np.int64), "mask": np.ones(mask, np.int64)})


def test_profile_and_out(tokens_package):
    inputs = tokens(1, 12)
    assert tokens_package.profile(inputs)
    name = tokens_package.metadata["outputs"][0]["name"]
    out = np.empty((1, 12, 24), np.float32)
    tokens_package.run(inputs, {name: out})
    np.testing.assert_array_equal(out, tokens_package.run(inputs)[name])
    with pytest.raises(TvmqError, match=r"out has shape \[1, 11, 24\]; expected \[1, 12, 24\]"):
        tokens_package.run(inputs, {name: np.empty((1, 11, 24), np.float32)})


def test_samples_of_other_sizes_are_refused():
    with pytest.raises(
        TvmqError, match=r"sample 1, input 'ids': expected shape \[1, 1\.\.80\], got \[1, 81\]"
    ):
        tvmq.quantize(
            encoder(False),
            "int8",
            TARGET,
            [tokens(1, 80), tokens(1, 81)],
            input_shapes={"N": 1, "S": "1..80"},
        )
    uneven = {"ids": tokens(1, 5)["ids"], "mask": tokens(1, 6)["mask"]}
    with pytest.raises(TvmqError, match=r"it has 6 in dimension 1 \(S\), and another input 5"):
        tvmq.quantize(encoder(), "int8", TARGET, [uneven], input_shapes={"N": 1, "S": "1..80"})


def test_what_takes_no_open_dimensions_says_so():
    shapes = {"N": "1..8"}
    with pytest.raises(TvmqError, match="open dimensions \\('N'\\) are not supported for a C library yet"):
        tvmq.compile_c_library(perceptron(), TARGET, input_shapes=shapes)
    samples = [{"x": np.ones((2, 24), np.float32)}]
    options = tvmq.QuantizeOptions(equalize=True)
    with pytest.raises(TvmqError, match="Equalize: open dimensions are not supported yet"):
        tvmq.quantize(perceptron(), "int8", TARGET, samples, input_shapes=shapes, options=options)


def test_a_model_whose_structure_depends_on_a_size_is_refused():
    from onnx import TensorProto

    from tests.open_models import Draft

    draft = Draft()
    shape = draft("Shape", "x")
    first = draft("Gather", shape, np.asarray(0, np.int64), axis=0)
    result = draft("Mul", "x", draft("Cast", first, to=TensorProto.FLOAT))
    model = draft.model({"x": (TensorProto.FLOAT, ["N", 4])}, {result: ["N", 4]})
    with pytest.raises(
        TvmqError, match="open dimensions: a constant at node 'mul_3' .* depends on their sizes"
    ):
        tvmq.compile(model, TARGET, input_shapes={"N": "1..8"})


def test_compressed_weights():
    quantized = tvmq.quantize(encoder(), "weight-only", TARGET, input_shapes={"N": 1, "S": "1..40"})
    package = tvmq.compile(quantized, TARGET)
    for length in (1, 9, 40):
        inputs = tokens(1, length)
        assert_same(package.run(inputs), at_size(quantized, S=length).run(inputs))


def test_scales_a_row():
    quantized = tvmq.quantize(encoder(), "dynamic", TARGET, input_shapes={"N": 1, "S": "1..40"})
    package = tvmq.compile(quantized, TARGET)
    for length in (1, 9, 40):
        inputs = tokens(1, length)
        assert_same(package.run(inputs), at_size(quantized, S=length).run(inputs))


def test_a_loaded_model_and_its_tuning_tasks():
    mod = tvmq.load_onnx(perceptron(), {"N": "1..16"})
    x = np.random.default_rng(0).standard_normal((5, 24)).astype(np.float32)
    assert_same(tvmq.compile(mod, TARGET).run(x), at_one_size(perceptron(), {"x": x}))
    tasks = tuning_tasks(perceptron(), TARGET, input_shapes={"N": "1..16"})
    assert {f"fused_matmul_{rows}x24_40ch_add_relu" for rows in (1, 2, 4, 8, 16)} <= {
        task.name for task in tasks
    }


def test_an_arm_board(run_on_arm):
    target = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"
    samples = [
        {"x": np.random.default_rng(3).standard_normal((rows, 24)).astype(np.float32)} for rows in (3, 9)
    ]
    quantized = tvmq.quantize(perceptron(), "int8", target, samples, input_shapes={"N": "1..40"})
    package = tvmq.compile(quantized, target)
    here = tvmq.compile(quantized, TARGET)
    for rows in (1, 23):
        x = np.random.default_rng(rows).standard_normal((rows, 24)).astype(np.float32)
        assert_same(run_on_arm(package, {"x": x}), here.run(x))
