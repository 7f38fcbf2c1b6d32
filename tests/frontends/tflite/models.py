"""TFLite graphs for tests and for mutation: every operator, in float and on integers."""

from __future__ import annotations

import numpy as np

from .writer import Writer

SAME, VALID = 0, 1
RELU, RELU6 = 1, 3


SHAPE = (1, 6, 4, 8)


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
    slope = w.constant(integers(dtype, 1, 1, 8), dtype, scale=0.01, zero_point=low + 131)
    values = integers(dtype, 4, 3, 3, 8)
    per_filter = {"scale": np.full(4, 0.01), "zero_point": np.zeros(4)}
    kernel = w.constant(
        values, dtype, **(per_filter if dtype == "int8" else {"scale": 0.01, "zero_point": 118})
    )
    outputs += [
        w.op("PRELU", [x, slope], out()),
        w.op("TRANSPOSE_CONV", [w.constant([1, 14, 12, 4]), kernel, x], out((1, 14, 12, 4), 0.1),
             padding=SAME, stride_w=2, stride_h=2),
    ]  # fmt: skip
    if dtype == "uint8":
        outputs.append(w.op("CONCATENATION", [x, y], out((1, 7, 6, 16), scale, zero), axis=3))
    else:
        size = w.constant([11, 9])
        outputs += [
            w.op("RESIZE_BILINEAR", [x, size], out((1, 11, 9, 8), scale, zero), half_pixel_centers=True),
            w.op("RESIZE_BILINEAR", [x, size], out((1, 11, 9, 8), scale, zero), align_corners=True),
        ]
    fed = {
        "x": integers(dtype, *shape),
        "y": integers(dtype, *shape)[:, ::-1].copy(),
        "rows": integers(dtype, 3, 21),
    }
    return w, outputs, fed


def sixteen_bits() -> tuple[Writer, list[int], dict[str, np.ndarray]]:
    """Return a graph of every operator whose exact integers of int16 are known, and its inputs."""
    w = Writer()
    shape, scale = (1, 7, 6, 8), 2**-11
    x, y = w.input("x", shape, "int16", scale), w.input("y", shape, "int16", 0.0007)
    rows = w.input("rows", (3, 21), "int16", 0.001)

    def out(extents=shape, scale=0.0009) -> int:
        return w.tensor(f"t{len(w.tensors)}", extents, "int16", scale, 0)

    def wide(data: int, name: str, out: int, weight: np.ndarray, axis: int, several: bool, **options) -> int:
        channels = weight.shape[axis]
        scales = np.linspace(0.002, 0.02, channels, dtype=np.float32) if several else np.float32([0.01])
        zeros = np.zeros(scales.size)
        factor = w.constant(weight, "int8", scale=scales, zero_point=zeros, axis=axis if several else 0)
        bias = np.random.default_rng(5).integers(-(10**6), 10**6, channels)
        offset = w.constant(bias, "int64", scale=w.tensors[data]["scale"][0] * scales, zero_point=zeros)
        return w.op(name, [data, factor, offset], out, **options)

    size = {"padding": SAME, "stride_w": 2, "stride_h": 1}
    outputs = [
        wide(x, "CONV_2D", out((1, 7, 3, 5), 0.02), integers("int8", 5, 3, 3, 8), 0, True, **size),
        wide(x, "DEPTHWISE_CONV_2D", out((1, 7, 3, 8), 0.005), integers("int8", 1, 3, 3, 8), 3, True, **size,
             depth_multiplier=1, fused_activation_function=RELU),
        wide(rows, "FULLY_CONNECTED", out((3, 10), 0.01), integers("int8", 10, 21), 0, False,
             quantized_bias_type=4),
        w.op("ADD", [x, y], out(), pot_scale_int16=False),
        w.op("SUB", [x, y], out(), pot_scale_int16=False),
        w.op("MUL", [x, y], out(scale=0.002)),
        w.op("MEAN", [x, w.constant([1, 2])], out((1, 8), 0.0004), keep_dims=False),
        w.op("RESHAPE", [x, w.constant([3, 112])], out((3, 112), scale), new_shape=[3, 112]),
        w.op("MAX_POOL_2D", [x], out((1, 7, 3, 8), scale), **size, filter_width=2, filter_height=2),
    ]  # fmt: skip
    fed = {"x": integers("int16", *shape), "y": integers("int16", *shape)[:, ::-1].copy()}
    return w, outputs, {**fed, "rows": integers("int16", 3, 21)}


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


def of_floats() -> tuple[Graph, dict[str, np.ndarray]]:
    """Return a graph of every operator of floats that the reference kernels have, and its inputs."""
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
    return g, fed
