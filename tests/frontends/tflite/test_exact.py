"""Exact integers: every output equals that of TFLite's reference kernels, bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.hub.layers import get_layers

from .models import eight_bits, integers, sixteen_bits, weighted
from .reference import reference
from .writer import Writer


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_every_output_equals_the_reference_kernels(tmp_path: Path, dtype: str):
    w, outputs, fed = sixteen_bits() if dtype == "int16" else eight_bits(dtype)
    path = w.save(tmp_path / "model.tflite", outputs)
    mod = tvmq.load_tflite(path, exact=True)
    package = tvmq.compile(mod)
    names = [name for name, *_ in w.operators]
    for _ in range(3):
        got, expected = list(package.run(fed).values()), reference(path, fed)
        wrong = [name for name, a, b in zip(names, got, expected, strict=True) if not np.array_equal(a, b)]
        assert wrong == []
        fed = {name: np.roll(array, 5) for name, array in fed.items()}
    statuses = {layer["status"] for layer in package.metadata["layers"]}
    assert dtype == "int16" or statuses <= {"int8", "folded"}


@pytest.mark.parametrize("name", ["ic_resnet8_int8", "kws_dscnn_int8"])
def test_a_model_that_was_trained(data_dir: Path, name: str):
    path = data_dir / "tflite" / f"{name}.tflite"
    package = tvmq.compile(tvmq.load_tflite(path, exact=True))
    (given,) = package.metadata["inputs"]
    for seed in range(4):
        data = np.random.default_rng(seed).integers(-128, 128, given["shape"]).astype("int8")
        (got,) = package.run({given["name"]: data}).values()
        np.testing.assert_array_equal(got, reference(path, {given["name"]: data})[0])


def test_floats_are_rounded_away_from_zero(tmp_path: Path):
    w = Writer()
    x = w.input("x", (1, 8))
    y = w.tensor("y", (1, 8), "int8", 0.5, 3)
    path = w.save(tmp_path / "model.tflite", [w.op("QUANTIZE", [x], y)])
    data = np.float32([[0.25, -0.25, 0.75, -0.75, 1e9, -1e9, 0.2499, 0.0]])
    (got,) = tvmq.compile(tvmq.load_tflite(path, exact=True)).run({"x": data}).values()
    np.testing.assert_array_equal(got, [[4, 2, 5, 1, 127, -128, 3, 3]])
    np.testing.assert_array_equal(got, reference(path, {"x": data})[0])


def test_an_operator_without_exact_integers_is_refused(tmp_path: Path):
    w = Writer()
    x = w.input("x", (1, 8), "int8", 0.1, 0)
    path = w.save(tmp_path / "model.tflite", [w.op("EXP", [x], w.tensor("y", (1, 8), "int8", 0.1, 0))])
    with pytest.raises(
        TvmqError, match=r"TFLite operator 'y' \(EXP\) .* its exact integers are not known here"
    ):
        tvmq.load_tflite(path, exact=True)
    assert [layer.op for layer in get_layers(tvmq.load_tflite(path))] == ["EXP"]


def test_a_product_without_exact_integers_is_refused(tmp_path: Path):
    w = Writer()
    x = w.input("x", (1, 8), "int16", 0.1, 0)
    weight = w.constant(integers("int8", 4, 8), "int8", scale=0.1)
    bias = w.constant(np.arange(4), "int32", scale=0.01)
    y = w.tensor("y", (1, 4), "int16", 0.1, 0)
    path = w.save(tmp_path / "model.tflite", [w.op("FULLY_CONNECTED", [x, weight, bias], y)])
    with pytest.raises(
        TvmqError, match="'y' .FULLY_CONNECTED. .* with data of 16 bits exact integers are known for"
    ):
        tvmq.load_tflite(path, exact=True)


def test_exactness_of_a_model_that_is_none(tmp_path: Path):
    from tvmq.frontends.files import load_model

    with pytest.raises(TvmqError, match="are for TFLite models, and this is none"):
        load_model(tmp_path / "model.onnx", tflite_exact=True)


def test_a_gpu_has_no_kernels_of_them(tmp_path: Path):
    w = Writer()
    x = w.input("x", (1, 4, 4, 8), "int8", 0.1, 0)
    y = weighted(
        w, x, "CONV_2D", w.tensor("y", (1, 4, 4, 4), "int8", 0.1, 0), integers("int8", 4, 1, 1, 8), 0, "int8"
    )
    mod = tvmq.load_tflite(w.save(tmp_path / "model.tflite", [y]), exact=True)
    with pytest.raises(TvmqError, match="have kernels for CPUs alone"):
        tvmq.compile(mod, "cuda -arch=sm_80")


def test_an_output_in_the_middle_keeps_the_rest_exact(tmp_path: Path):
    w, outputs, fed = eight_bits("int8")
    path = w.save(tmp_path / "model.tflite", outputs[:2])
    names = [w.tensors[place]["name"] for place in outputs[:2]]
    package = tvmq.compile(tvmq.load_tflite(path, outputs=names[1:], exact=True))
    np.testing.assert_array_equal(package.run({"x": fed["x"]})[names[1]], reference(path, fed)[1])
