"""Operators in float, of 16 bits, and with weights alone quantized, beside TFLite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.hub.layers import get_layers

from .reference import reference
from .test_exact import integers
from .writer import Writer

SAME, VALID = 0, 1
SHAPE = (1, 6, 4, 8)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 2, shape).astype(np.float32)


class Graph(Writer):
    """A graph in the making; ``add`` notes an output."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[int] = []

    def add(
        self, name: str, inputs: list[int], shape: tuple[int, ...], dtype: str = "float32", **options
    ) -> int:
        self.outputs.append(
            self.op(name, inputs, self.tensor(f"t{len(self.tensors)}", shape, dtype), **options)
        )
        return self.outputs[-1]

    def compare(self, path: Path, fed: dict[str, np.ndarray], tolerance: float) -> tvmq.Package:
        """Compile and run the graph, and hold each output against the reference; relative to its largest number."""
        self.save(path, self.outputs)
        package = tvmq.compile(str(path))
        places = {place: name for name, _, outputs, _ in self.operators for place in outputs}
        names = [places[place] for place in self.outputs]
        for name, got, expected in zip(names, package.run(fed).values(), reference(path, fed), strict=True):
            assert got.shape == expected.shape and got.dtype == expected.dtype, name
            error = np.abs(got.astype(np.float64) - expected).max(initial=0)
            assert error <= tolerance * max(np.abs(expected.astype(np.float64)).max(initial=0), 1e-6), name
        return package


def test_operators_of_floats(tmp_path: Path):
    g = Graph()
    x, y, rows = g.input("x", SHAPE), g.input("y", SHAPE), g.input("rows", (3, 8))
    image = (1, 6, 4, 8)
    for name in ("ABS", "COS", "EXP", "FLOOR", "HARD_SWISH", "LOG", "LOGISTIC", "NEG", "RELU", "RSQRT", "SIN",
                 "SQRT", "SQUARE", "TANH", "RELU6", "RELU_N1_TO_1"):  # fmt: skip
        g.add(name, [x], image)
    for name in ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "POW", "SUB", "SQUARED_DIFFERENCE", "FLOOR_DIV"):
        g.add(name, [x, y], image)
    for name in ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"):
        g.add(name, [x, y], image, "bool")
    g.add("LEAKY_RELU", [x], image, alpha=0.3)
    g.add("PRELU", [x, g.constant(floats(1, 1, 8), "float32")], image)
    g.add("SOFTMAX", [rows], (3, 8), beta=0.7)
    g.add("LOG_SOFTMAX", [rows], (3, 8))
    g.add("L2_NORMALIZATION", [rows], (3, 8))
    weight, bias = g.constant(floats(5, 3, 3, 8, seed=1), "float32"), g.constant(floats(5), "float32")
    g.add("CONV_2D", [x, weight, bias], (1, 3, 2, 5), padding=SAME, stride_w=2, stride_h=2, dilation_w_factor=1,
          dilation_h_factor=1, fused_activation_function=3)  # fmt: skip
    one = g.constant(floats(1, 3, 3, 16), "float32")
    g.add("DEPTHWISE_CONV_2D", [x, one, g.constant(floats(16), "float32")], (1, 4, 2, 16), padding=VALID, stride_w=1,
          stride_h=1, depth_multiplier=2)  # fmt: skip
    g.add("FULLY_CONNECTED", [rows, g.constant(floats(4, 8), "float32"), -1], (3, 4))
    kernel = g.constant(floats(4, 3, 2, 8), "float32")
    g.add(
        "TRANSPOSE_CONV",
        [g.constant([1, 12, 8, 4]), kernel, x],
        (1, 12, 8, 4),
        padding=SAME,
        stride_w=2,
        stride_h=2,
    )
    g.add(
        "TRANSPOSE_CONV",
        [g.constant([1, 13, 8, 4]), kernel, x],
        (1, 13, 8, 4),
        padding=VALID,
        stride_w=2,
        stride_h=2,
    )
    g.add("BATCH_MATMUL", [x, y], (1, 6, 4, 4), adj_y=True)
    pool = {"padding": SAME, "stride_w": 2, "stride_h": 1, "filter_width": 3, "filter_height": 2}
    g.add("AVERAGE_POOL_2D", [x], (1, 6, 2, 8), **pool)
    g.add("MAX_POOL_2D", [x], (1, 6, 2, 8), **pool)
    g.add("MEAN", [x, g.constant([1, 2])], (1, 8), keep_dims=False)
    g.add("MEAN", [x, g.constant([-1])], (1, 6, 4, 1), keep_dims=True)
    g.add("SUM", [x, g.constant([0, 3])], (6, 4), keep_dims=False)
    g.add("REDUCE_MAX", [x, g.constant([1])], (1, 4, 8), keep_dims=False)
    g.add("ARG_MAX", [x, g.constant(3)], (1, 6, 4), "int32", output_type=2)
    for name, options in (("RESIZE_BILINEAR", {}), ("RESIZE_NEAREST_NEIGHBOR", {})):
        for more in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
            g.add(name, [x, g.constant([9, 7])], (1, 9, 7, 8), **options, **more)
    g.add("CONCATENATION", [x, y], (1, 6, 8, 8), axis=2)
    g.add("PACK", [rows, rows], (3, 2, 8), values_count=2, axis=1)
    g.add("PAD", [x, g.constant([[0, 0], [1, 2], [0, 1], [0, 0]])], (1, 9, 5, 8))
    g.add("PADV2", [rows, g.constant([[0, 1], [2, 0]]), g.constant(0.5, "float32")], (4, 10))
    g.add("MIRROR_PAD", [rows, g.constant([[1, 0], [2, 1]])], (4, 11), mode=0)
    g.add("MIRROR_PAD", [rows, g.constant([[1, 0], [2, 1]])], (4, 11), mode=1)
    g.add("TRANSPOSE", [x, g.constant([0, 3, 1, 2])], (1, 8, 6, 4))
    g.add("TILE", [rows, g.constant([2, 1])], (6, 8))
    g.add("SLICE", [x, g.constant([0, 1, 0, 2]), g.constant([1, 3, -1, 5])], (1, 3, 4, 5))
    g.add("STRIDED_SLICE", [x, g.constant([0, 5, 1, 0]), g.constant([1, 0, 4, 8]), g.constant([1, -2, 1, 3])],
          (3, 3, 3), shrink_axis_mask=1)  # fmt: skip
    g.add("STRIDED_SLICE", [x, g.constant([0, 0, 2]), g.constant([0, 0, 7]), g.constant([1, 1, 2])], (1, 6, 4, 1, 3),
          ellipsis_mask=1, new_axis_mask=2)  # fmt: skip
    g.add("SQUEEZE", [x], (6, 4, 8), squeeze_dims=[0])
    g.add("EXPAND_DIMS", [rows, g.constant(-1)], (3, 8, 1))
    g.add("GATHER", [rows, g.constant([2, 0])], (2, 8), axis=0)
    g.add("SPACE_TO_DEPTH", [x], (1, 3, 2, 32), block_size=2)
    g.add("DEPTH_TO_SPACE", [x], (1, 12, 8, 2), block_size=2)
    g.add("SPACE_TO_BATCH_ND", [x, g.constant([2, 3]), g.constant([[1, 1], [0, 2]])], (6, 4, 2, 8))
    back = g.input("back", (6, 4, 2, 8))
    g.add("BATCH_TO_SPACE_ND", [back, g.constant([2, 3]), g.constant([[1, 1], [0, 2]])], (1, 6, 4, 8))
    g.add("REVERSE_V2", [x, g.constant([1])], image)
    parts = [g.tensor(f"part{at}", (1, 6, 4, 4), "float32") for at in range(2)]
    g.op("SPLIT", [g.constant(3), x], *parts, num_splits=2)
    halves = [g.tensor(f"half{at}", (8,), "float32") for at in range(3)]
    g.op("UNPACK", [rows], *halves, num=3, axis=0)
    g.outputs += [*parts, *halves]
    g.add("CAST", [x], image, "int32", in_data_type=0, out_data_type=2)
    fed = {
        "x": floats(*SHAPE),
        "y": floats(*SHAPE, seed=2),
        "rows": floats(3, 8, seed=3),
        "back": floats(6, 4, 2, 8),
    }
    g.compare(tmp_path / "model.tflite", fed, 2e-5)


def test_activations_of_16_bits(tmp_path: Path):
    g = Graph()
    x = g.input("x", SHAPE, "int16", 2**-12)
    scale = np.linspace(0.002, 0.02, 5, dtype=np.float32)
    weight = g.constant(integers("int8", 5, 3, 3, 8), "int8", scale=scale, zero_point=np.zeros(5))
    bias = g.constant(np.arange(5) * 1000, "int64", scale=scale * 2**-12, zero_point=np.zeros(5))
    y = g.tensor("y", (1, 6, 4, 5), "int16", 2**-9)
    g.outputs.append(g.op("CONV_2D", [x, weight, bias], y, padding=SAME, stride_w=1, stride_h=1))
    # Both round: by int32 multipliers of 16 bits there, in float32 here, whose sums are off by 2**-24 of their terms.
    g.compare(tmp_path / "model.tflite", {"x": integers("int16", *SHAPE)}, 2**-13)


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
    package = g.compare(tmp_path / "model.tflite", {"x": floats(*SHAPE), "rows": floats(3, 32)}, 0.02)
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
    g.compare(tmp_path / "model.tflite", {"x": floats(*SHAPE)}, 0)


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
