"""Operators in float, of 16 bits, and with weights alone quantized, beside TFLite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flatbuffers import flexbuffers

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.hub.layers import get_layers

from .models import SAME, SHAPE, Graph, floats, integers, of_floats
from .reference import reference


def compare(graph: Graph, path: Path, fed: dict[str, np.ndarray], tolerance: float) -> tvmq.Package:
    """Compile and run the graph, and hold each output against the reference; relative to its largest number."""
    graph.save(path, graph.outputs)
    package = tvmq.compile(str(path))
    places = {place: name for name, _, outputs, _ in graph.operators for place in outputs}
    names = [places[place] for place in graph.outputs]
    for name, got, expected in zip(names, package.run(fed).values(), reference(path, fed), strict=True):
        assert got.shape == expected.shape and got.dtype == expected.dtype, name
        error = np.abs(got.astype(np.float64) - expected).max(initial=0)
        assert error <= tolerance * max(np.abs(expected.astype(np.float64)).max(initial=0), 1e-6), name
    return package


def test_operators_of_floats(tmp_path: Path):
    g, fed = of_floats()
    compare(g, tmp_path / "model.tflite", fed, 2e-5)


def test_activations_of_16_bits(tmp_path: Path):
    g = Graph()
    x = g.input("x", SHAPE, "int16", 2**-12)
    scale = np.linspace(0.002, 0.02, 5, dtype=np.float32)
    weight = g.constant(integers("int8", 5, 3, 3, 8), "int8", scale=scale, zero_point=np.zeros(5))
    bias = g.constant(np.arange(5) * 1000, "int64", scale=scale * 2**-12, zero_point=np.zeros(5))
    y = g.tensor("y", (1, 6, 4, 5), "int16", 2**-9)
    g.outputs.append(g.op("CONV_2D", [x, weight, bias], y, padding=SAME, stride_w=1, stride_h=1))
    # Both round: by int32 multipliers of 16 bits there, in float32 here, whose sums are off by 2**-24 of their terms.
    compare(g, tmp_path / "model.tflite", {"x": integers("int16", *SHAPE)}, 2**-13)


def test_weights_alone_quantized(tmp_path: Path):
    g = Graph()
    x, rows = g.input("x", SHAPE), g.input("rows", (3, 32))
    scale = np.linspace(0.002, 0.02, 5, dtype=np.float32)
    weight = g.constant(integers("int8", 5, 3, 3, 8), "int8", scale=scale, zero_point=np.zeros(5))
    bias = g.constant(floats(5), "float32")
    g.add("CONV_2D", [x, weight, bias], (1, 6, 4, 5), padding=SAME, stride_w=1, stride_h=1)
    dense = g.constant(integers("int8", 6, 32), "int8", scale=0.01)
    g.add("FULLY_CONNECTED", [rows, dense, -1], (3, 6))
    half = g.constant(floats(4, 32).astype(np.float16), "float16")
    wide = g.op("DEQUANTIZE", [half], g.tensor("wide", (4, 32), "float32"))
    g.add("FULLY_CONNECTED", [rows, wide, -1], (3, 4))
    # Rows rounded to 8 bits: half a step of 1/127 of the largest number, times the sum of 32 weights.
    package = compare(g, tmp_path / "model.tflite", {"x": floats(*SHAPE), "rows": floats(3, 32)}, 0.02)
    statuses = {layer["op"]: layer["status"] for layer in package.metadata["layers"]}
    assert statuses["CONV_2D"] == "float"
    assert [layer["status"] for layer in package.metadata["layers"] if layer["op"] == "FULLY_CONNECTED"][
        0
    ] == "dynamic"


def test_weights_of_four_bits(tmp_path: Path):
    g = Graph()
    x = g.input("x", (2, 15), "int8", 0.1, 3)
    values = np.random.default_rng(0).integers(-7, 8, (5, 15))
    weight = g.constant(values, "int4", scale=0.02)
    y = g.tensor("y", (2, 5), "int8", 0.2, -4)
    path = g.save(tmp_path / "model.tflite", [g.op("FULLY_CONNECTED", [x, weight, -1], y)])
    package = tvmq.compile(str(path))
    data = integers("int8", 2, 15)
    (got,) = package.run({"x": data}).values()
    expected = (
        (data.astype(np.float64) - 3) * np.float32(0.1) @ (values.T * np.float32(0.02)) / np.float32(0.2)
    )
    assert np.abs(got - np.clip(np.rint(expected) - 4, -128, 127)).max() <= 1
    (layer,) = [layer for layer in package.metadata["layers"] if layer["op"] == "FULLY_CONNECTED"]
    assert layer["status"] == "int8" and layer["details"]["weight_bits"] == 4


def test_shapes_computed_in_the_graph(tmp_path: Path):
    g = Graph()
    x = g.input("x", SHAPE)
    shape = g.op("SHAPE", [x], g.tensor("shape", (4,), "int32"), out_type=2)
    bounds = [g.constant(each) for each in ([0], [1], [1])]
    batch = g.op("STRIDED_SLICE", [shape, *bounds], g.tensor("batch", (), "int32"), shrink_axis_mask=1)
    target = g.op("PACK", [batch, g.constant(-1)], g.tensor("target", (2,), "int32"), values_count=2, axis=0)
    g.add("RESHAPE", [x, target], (1, 192))
    compare(g, tmp_path / "model.tflite", {"x": floats(*SHAPE)}, 0)


def test_an_open_batch_is_given(tmp_path: Path):
    g = Graph()
    x = g.input("x", (1, 8))
    g.tensors[x]["signature"] = (-1, 8)
    path = g.save(tmp_path / "model.tflite", [g.op("RELU", [x], g.tensor("y", (1, 8), "float32"))])
    assert tvmq.compile(str(path)).metadata["inputs"][0]["shape"] == [1, 8]
    assert tvmq.compile(str(path), input_shapes={"x": (5, 8)}).metadata["inputs"][0]["shape"] == [5, 8]
    with pytest.raises(TvmqError, match="x"):
        tvmq.compile(str(path), input_shapes={"x": (5, 9)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SVDF", r"cannot be imported: SVDF \(y\)"),
        ("MyOwn", r"cannot be imported: custom operator MyOwn \(y\)"),
    ],
)
def test_unknown_operators_are_named(tmp_path: Path, name: str, message: str):
    g = Graph()
    path = g.save(
        tmp_path / "model.tflite", [g.op(name, [g.input("x", (1, 8))], g.tensor("y", (1, 8), "float32"))]
    )
    with pytest.raises(TvmqError, match=message):
        tvmq.load_tflite(path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("FULLY_CONNECTED", {"weights_format": 1}, "its weights are in a shuffled format"),
        ("ADD", {"fused_activation_function": 5}, "its activation, number 5, is not supported"),
    ],
)
def test_options_that_are_not_supported(tmp_path: Path, name: str, options: dict[str, int], message: str):
    g = Graph()
    x, other = g.input("x", (1, 8)), g.constant(floats(8, 8), "float32")
    path = g.save(
        tmp_path / "model.tflite", [g.op(name, [x, other], g.tensor("y", (1, 8), "float32"), **options)]
    )
    with pytest.raises(TvmqError, match=f"TFLite operator 'y' .{name}. cannot be imported: {message}"):
        tvmq.load_tflite(path)


def test_a_float_model_is_quantized_here(tmp_path: Path):
    g = Graph()
    x = g.input("x", SHAPE)
    weight, bias = g.constant(floats(16, 3, 3, 8) - 1, "float32"), g.constant(floats(16), "float32")
    y = g.op("CONV_2D", [x, weight, bias], g.tensor("y", (1, 6, 4, 16), "float32"), padding=SAME, stride_w=1,
             stride_h=1, fused_activation_function=1)  # fmt: skip
    path = g.save(tmp_path / "model.tflite", [g.op("ADD", [y, y], g.tensor("z", (1, 6, 4, 16), "float32"))])
    samples = [{"x": floats(*SHAPE, seed=seed)} for seed in range(4)]
    quantized = tvmq.quantize(str(path), "int8", calibration=samples)
    statuses = {layer.op: layer.status for layer in get_layers(quantized.mod)}
    assert statuses["CONV_2D"] == "int8"


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("background", [0, 1])
def test_detections(tmp_path: Path, regular: bool, background: int):
    count, classes = 40, 5
    rng = np.random.default_rng(7)
    anchors = rng.uniform(0.2, 0.8, (count, 4)).astype(np.float32)
    g = Graph()
    boxes, scores = g.input("boxes", (1, count, 4)), g.input("scores", (1, count, classes + background))
    given = [
        g.tensor(f"out{at}", shape, "float32") for at, shape in enumerate(((1, 9, 4), (1, 9), (1, 9), (1,)))
    ]
    options = {
        "max_detections": 9, "max_classes_per_detection": 1, "detections_per_class": 3, "use_regular_nms": regular,
        "nms_score_threshold": 0.4, "nms_iou_threshold": 0.5, "num_classes": classes, "y_scale": 10.0, "x_scale": 10.0,
        "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    g.op(
        "TFLite_Detection_PostProcess",
        [boxes, scores, g.constant(anchors, "float32")],
        *given,
        custom=flexbuffers.Dumps(options),
    )
    g.outputs += given
    fed = {
        "boxes": rng.normal(0, 2, (1, count, 4)).astype(np.float32),
        "scores": rng.uniform(0, 1, (1, count, classes + background)).astype(np.float32),
    }
    compare(g, tmp_path / "model.tflite", fed, 1e-6)
