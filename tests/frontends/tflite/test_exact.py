"""Exact integers: every output equals that of TFLite's reference kernels, bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.hub.layers import get_layers

from .reference import reference
from .writer import Writer

SAME, VALID = 0, 1
RELU, RELU6 = 1, 3
RNG = np.random.default_rng(0)


def integers(dtype: str, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(sum(shape)).integers(info.min, info.max + 1, shape).astype(dtype)


def weighted(
    w: Writer, data: int, name: str, out: int, weight: np.ndarray, axis: int, dtype: str, **options
) -> int:
    """Add a product with a bias: per channel of int8, with a zero point for uint8."""
    channels = weight.shape[axis]
    data_scale = float(w.tensors[data]["scale"][0])
    if dtype == "int8":
        scale, zero = np.linspace(0.002, 0.02, channels, dtype=np.float32), np.zeros(channels)
        factor = w.constant(weight, "int8", scale=scale, zero_point=zero, axis=axis)
    else:
        scale = np.float32(0.01)
        factor = w.constant(weight, "uint8", scale=scale, zero_point=118)
    bias = np.random.default_rng(5).integers(-4000, 4000, channels)
    bias_scale = np.broadcast_to(data_scale * scale, channels) if np.ndim(scale) else data_scale * scale
    offset = w.constant(bias, "int32", scale=bias_scale, zero_point=np.zeros(np.size(bias_scale)))
    return w.op(name, [data, factor, offset], out, **options)


def eight_bits(dtype: str) -> tuple[Writer, list[int], dict[str, np.ndarray]]:
    """Return a graph of every operator whose exact integers of a dtype are known, and its inputs."""
    w = Writer()
    low = np.iinfo(dtype).min
    shape, scale, zero = (1, 7, 6, 8), 0.05, low + 115
    x, y = w.input("x", shape, dtype, scale, zero), w.input("y", shape, dtype, 0.031, low + 140)
    rows = w.input("rows", (3, 21), dtype, 0.11, low + 128)

    def out(extents=shape, scale=0.06, zero=low + 120) -> int:
        return w.tensor(f"t{len(w.tensors)}", extents, dtype, scale, zero)

    outputs = [
        weighted(w, x, "CONV_2D", out((1, 4, 3, 5), 0.2), integers(dtype, 5, 3, 3, 8), 0, dtype,
                 padding=SAME, stride_w=2, stride_h=2, fused_activation_function=RELU6),
        weighted(w, x, "CONV_2D", out((1, 7, 6, 24), 0.02), integers(dtype, 24, 1, 1, 8), 0, dtype,
                 padding=VALID, stride_w=1, stride_h=1),
        weighted(w, x, "DEPTHWISE_CONV_2D", out((1, 7, 6, 8), 0.3), integers(dtype, 1, 3, 3, 8), 3, dtype,
                 padding=SAME, stride_w=1, stride_h=1, depth_multiplier=1, fused_activation_function=RELU),
        weighted(w, rows, "FULLY_CONNECTED", out((3, 10), 0.4), integers(dtype, 10, 21), 0, dtype),
        w.op("ADD", [x, y], out(), fused_activation_function=RELU),
        w.op("SUB", [x, y], out(scale=0.08)),
        w.op("MUL", [x, y], out(scale=0.3)),
        w.op("AVERAGE_POOL_2D", [x], out((1, 4, 3, 8), scale, zero), padding=SAME, stride_w=2, stride_h=2,
             filter_width=3, filter_height=3, fused_activation_function=RELU),
        w.op("MAX_POOL_2D", [x], out((1, 3, 3, 8), scale, zero), padding=VALID, stride_w=2, stride_h=2,
             filter_width=2, filter_height=2),
        w.op("SOFTMAX", [rows], out((3, 21), 1 / 256, low), beta=1.0),
        w.op("LOGISTIC", [x], out(scale=1 / 256, zero=low)),
        w.op("TANH", [x], out(scale=1 / 128, zero=low + 128)),
        w.op("HARD_SWISH", [x], out(scale=0.04, zero=low + 12)),
        w.op("LEAKY_RELU", [x], out(), alpha=0.1),
        w.op("RELU6", [x], out(scale=0.024, zero=low)),
        w.op("CONCATENATION", [x, x], out((1, 7, 6, 16), scale, zero), axis=3),
        w.op("RESHAPE", [x, w.constant([3, 112])], out((3, 112), scale, zero), new_shape=[3, 112]),
        w.op("PAD", [x, w.constant([[0, 0], [1, 0], [0, 2], [0, 0]])], out((1, 8, 8, 8), scale, zero)),
        w.op("MEAN", [x, w.constant([1, 2])], out((1, 1, 1, 8), 0.04), keep_dims=True),
        w.op("QUANTIZE", [x], out(scale=0.03, zero=low + 77)),
    ]  # fmt: skip
    if dtype == "int8":
        slope = w.constant(integers("int8", 1, 1, 8), "int8", scale=0.01, zero_point=3)
        kernel = w.constant(
            integers("int8", 4, 3, 3, 8), "int8", scale=np.full(4, 0.01), zero_point=np.zeros(4)
        )
        size = w.constant([11, 9])
        outputs += [
            w.op("PRELU", [x, slope], out()),
            w.op("RESIZE_BILINEAR", [x, size], out((1, 11, 9, 8), scale, zero), half_pixel_centers=True),
            w.op("RESIZE_BILINEAR", [x, size], out((1, 11, 9, 8), scale, zero), align_corners=True),
            w.op("TRANSPOSE_CONV", [w.constant([1, 14, 12, 4]), kernel, x], out((1, 14, 12, 4), 0.1),
                 padding=SAME, stride_w=2, stride_h=2),
        ]  # fmt: skip
    fed = {
        "x": integers(dtype, *shape),
        "y": integers(dtype, *shape)[:, ::-1].copy(),
        "rows": integers(dtype, 3, 21),
    }
    return w, outputs, fed


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_output_equals_the_reference_kernels(tmp_path: Path, dtype: str):
    w, outputs, fed = eight_bits(dtype)
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
    assert statuses <= {"int8", "folded"}


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
    y = w.tensor("y", (1, 4), "int16", 0.1, 0)
    path = w.save(tmp_path / "model.tflite", [w.op("FULLY_CONNECTED", [x, weight], y)])
    with pytest.raises(
        TvmqError, match="'y' .FULLY_CONNECTED. has no exact integers here: it makes int16 of int16"
    ):
        tvmq.load_tflite(path, exact=True)


def test_exactness_of_a_model_that_is_none(tmp_path: Path):
    from tvmq.frontends.files import load_model

    with pytest.raises(TvmqError, match="are for TFLite models, and this is none"):
        load_model(tmp_path / "model.onnx", tflite_exact=True)
