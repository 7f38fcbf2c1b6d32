"""Kernels of a GPU by themselves: each family as it is in a model, scheduled, with what it multiplies and moves.

    Kernel.calls(row)  -->  scheduled functions, in order, with the shapes of their arguments

Nothing is quantized for them: shapes and dtypes are those of a model, and what is in the arrays is up to who runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm
from tvm import relax, te, tirx

from ...errors import unknown
from ...passes.hub import packing
from ...passes.hub.arithmetic import Addend, Output
from ...passes.prepare.prepare import Prepare
from ...passes.realize.compute import contraction, depthwise, elementwise, pool, product, scaled
from ...passes.realize.compute.contraction import Conv2d
from ...passes.realize.compute.dots import Dot
from ...passes.realize.compute.epilogue import Conversion, Epilogue, Requantize, RequantizeAdd
from ...passes.realize.layout import Layout
from ...passes.realize.realize import Realize
from ...passes.realize.realizers.dots import lay_out
from ...passes.realize.realizers.weights import Weight
from ...schedules.pipeline import to_scheduled_kernels
from ...schedules.rules import schedule
from ...schedules.start import start_from_offset
from ...targets.parse import parse_target
from ...targets.row import TargetRow

OUT = Output("uint8", 128, 0, 255)
ZERO_POINT = 128
SHIFT = 13
LARGEST = 2.0**24
"""Sums, and what they become, are no greater: in a model that is known, and spares them limits."""

Array = tuple[tuple[int, ...], str]
"""Shape and dtype."""


@dataclass(frozen=True)
class Call:
    """A scheduled function.

    Attributes
    ----------
    function : with its launches.
    arrays : its arguments, the result last.
    """

    function: tirx.PrimFunc
    arrays: tuple[Array, ...]

    @staticmethod
    def of(function: tirx.PrimFunc) -> Call:
        arrays = ((tuple(int(extent) for extent in each.shape), str(each.dtype)) for each in function.params)
        return Call(function, tuple(arrays))

    @property
    def moved(self) -> int:
        """Bytes of all arguments: what has to be read and written once."""
        return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self.arrays)


@dataclass(frozen=True)
class Kernel:
    """One kernel, or the few that an operator becomes.

    Attributes
    ----------
    name : unique in its list.
    family : what kind it is.
    calls : makes them for a row.
    macs : multiplications with an addition; 0 where they do not matter.
    peer : of a product ``(rows, channels, inner)``; of a convolution ``(batch, height, channels, out channels, kernel,
        stride)``; empty where there is nothing to compare with.
    times : how often a network has it.
    """

    name: str
    family: str
    calls: Callable[[TargetRow], Sequence[Call]]
    macs: int = 0
    peer: tuple[int, ...] = ()
    times: int = 1


def scheduled(define: Callable[..., te.Tensor], arrays: Sequence[Array], row: TargetRow) -> Call:
    """Return a TE definition over these arguments with the schedule that it gets in a model."""
    placeholders = [
        te.placeholder([tirx.IntImm("int64", extent) for extent in shape], dtype, name=f"p{place}")
        for place, (shape, dtype) in enumerate(arrays)
    ]
    function = te.create_prim_func([*placeholders, define(*placeholders)])
    return Call.of(schedule(start_from_offset(function), row, 1, "main"))


def of_model(mod: tvm.IRModule, row: TargetRow, function: str = "main") -> list[Call]:
    """Return the kernels that a function of a module, in float or with quantizers, calls, in order."""
    ready = Realize(row)(Layout()(mod))
    lowered, _ = to_scheduled_kernels(ready, parse_target(f"cuda -arch={row.name}"), row)
    names: list[str] = []

    def note(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call) and str(getattr(expr.op, "name", "")) == "relax.call_tir":
            names.append(expr.args[0].name_hint)

    relax.analysis.post_order_visit(lowered[function], note)
    return [Call.of(lowered[name]) for name in names]


def _int8_dot(row: TargetRow) -> Dot:
    dot = row.dots[-1]
    return Dot(dot.lanes, dot.depth, dot.data_dtype)


def _float_dot(row: TargetRow) -> Dot:
    return Dot(row.vector_bits // 32, 1, "float32", "float32", weight_dtype="float32")


def _conversion(row: TargetRow) -> Conversion:
    return Conversion(row.converts_by, LARGEST, LARGEST)


def _requantized(row: TargetRow) -> Requantize:
    return Requantize(OUT, _conversion(row))


def _per_channel(channels: int) -> list[Array]:
    return [((channels,), "int32"), ((channels,), "float32")]


def int8_product(rows: int, channels: int, inner: int, name: str = "", times: int = 1) -> Kernel:
    """Return uint8 ``[rows, inner]`` times int8 weights, requantized to uint8."""

    def calls(row: TargetRow) -> list[Call]:
        dot = _int8_dot(row)
        weight = packing.pack_matmul(np.zeros((inner, channels), np.int8), dot.lanes, dot.depth)
        arrays = [((rows, inner), "uint8"), (weight.shape, "int8"), *_per_channel(channels)]
        define = partial(contraction.matmul, out_channels=channels, dot=dot, epilogue=_requantized(row))
        return [scheduled(define, arrays, row)]

    macs = rows * channels * inner
    return Kernel(
        name or f"{rows}x{channels}x{inner}", "int8 product", calls, macs, (rows, channels, inner), times
    )


def float_product(rows: int, channels: int, inner: int) -> Kernel:
    """Return float32 ``[rows, inner]`` times weights."""

    def calls(row: TargetRow) -> list[Call]:
        dot = _float_dot(row)
        weight = packing.pack_matmul(np.zeros((inner, channels), np.float32), dot.lanes, dot.depth)
        define = partial(contraction.matmul, out_channels=channels, dot=dot)
        return [scheduled(define, [((rows, inner), "float32"), (weight.shape, "float32")], row)]

    name = f"float {rows}x{channels}x{inner}"
    return Kernel(name, "float product", calls, rows * channels * inner, (rows, channels, inner))


def int8_convolution(
    batch: int,
    size: int,
    into: int,
    out: int,
    kernel: int,
    stride: int = 1,
    times: int = 1,
    adds: bool = False,
) -> Kernel:
    """Return a convolution over uint8 ``[batch, size, size, into]``, padded to keep the size, requantized.

    Parameters
    ----------
    size : of the data; strides divide it.
    adds : a residual is added, in fixed point.
    """
    front = kernel // 2
    geometry = Conv2d((stride, stride), (front,) * 4, (1, 1), 1, (kernel, kernel), out, ZERO_POINT)
    result = geometry.out_size(size, size)[0]

    def calls(row: TargetRow) -> list[Call]:
        dot = _int8_dot(row)
        merged = packing.merges_columns((into, kernel, kernel), dot.depth, 1)
        plain = np.zeros((out, into, kernel, kernel), np.int8)
        weight = packing.pack_conv2d(
            packing.merge_columns(plain) if merged else plain, 1, dot.lanes, dot.depth
        )
        arrays = [((batch, size, size, into), "uint8"), (weight.shape, "int8"), *_per_channel(out)]
        epilogue: Epilogue = _requantized(row)
        if adds:
            arrays.append(((batch, result, result, out), "uint8"))
            epilogue = RequantizeAdd(OUT, Addend(3, 5793), SHIFT, _conversion(row))
        define = partial(contraction.conv2d, geometry=geometry, dot=dot, merged=merged, epilogue=epilogue)
        return [scheduled(define, arrays, row)]

    name = (
        f"{kernel}x{kernel}{f'/{stride}' if stride > 1 else ''}-{into}-{out}-{result}{' add' if adds else ''}"
    )
    macs = batch * result**2 * out * into * kernel**2
    peer = (batch, size, into, out, kernel, stride)
    return Kernel(name, f"int8 convolution {kernel}x{kernel}", calls, macs, peer, times)


def depthwise_convolution(batch: int, size: int, channels: int, kernel: int = 3, stride: int = 1) -> Kernel:
    """Return a depthwise convolution over uint8, requantized."""
    geometry = Conv2d(
        (stride, stride), (kernel // 2,) * 4, (1, 1), channels, (kernel, kernel), channels, ZERO_POINT
    )
    result = geometry.out_size(size, size)[0]

    def calls(row: TargetRow) -> list[Call]:
        own = row.lane_dot
        groups = depthwise.RowGroups.of(kernel, stride, own.depth)
        zeros = np.zeros((channels, 1, kernel, kernel), np.int8)
        weight = depthwise.pack_row_groups(zeros, stride, groups, own.lanes)
        arrays = [((batch, size, size, channels), "uint8"), (weight.shape, "int8"), *_per_channel(channels)]
        define = partial(
            depthwise.depthwise_by_row_groups,
            geometry=geometry,
            data_dtype=own.data_dtype,
            epilogue=_requantized(row),
        )
        return [scheduled(define, arrays, row)]

    name = f"depthwise {kernel}x{kernel}{f'/{stride}' if stride > 1 else ''}-{channels}-{result}"
    return Kernel(name, "depthwise", calls, batch * result**2 * channels * kernel**2)


def average_pool(batch: int, size: int, channels: int) -> Kernel:
    """Return the mean of windows of 2 x 2 over uint8, requantized."""
    window = pool.Window((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False, False)

    def calls(row: TargetRow) -> list[Call]:
        arrays = [((batch, size, size, channels), "uint8"), (window.out_size(size, size), "float32")]
        define = partial(
            pool.average_pool2d, window=window, zero_point=ZERO_POINT, epilogue=_requantized(row)
        )
        return [scheduled(define, arrays, row)]

    return Kernel("average pool", "pooling", calls)


def max_pool(batch: int, size: int, channels: int) -> Kernel:
    """Return the greatest of windows of 3 x 3 at stride 2 over uint8."""

    def define(data: te.Tensor) -> te.Tensor:
        from tvm import topi

        return topi.nn.pool2d(data, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), "max", layout="NHWC")

    return Kernel(
        "max pool",
        "pooling",
        lambda row: [scheduled(define, [((batch, size, size, channels), "uint8")], row)],
    )


def element_wise(kind: str, shape: tuple[int, ...]) -> Kernel:
    """Return one of ``quantize``, ``dequantize``, ``table``, ``add`` and ``multiply`` over a shape."""

    def calls(row: TargetRow) -> list[Call]:
        integers, floats, conversion = (shape, "uint8"), (shape, "float32"), _conversion(row)
        makers: dict[str, tuple[Callable[..., te.Tensor], list[Array]]] = {
            "quantize": (
                partial(elementwise.quantize, scale=0.05, out=OUT, conversion=Conversion(row.converts_by)),
                [floats],
            ),
            "dequantize": (partial(elementwise.dequantize, scale=0.05, zero_point=ZERO_POINT), [integers]),
            "table": (elementwise.look_up, [integers, ((256,), "uint8")]),
            "add": (
                partial(elementwise.add, addends=(Addend(128, 5793), Addend(5, -4001)), shift=SHIFT, out=OUT),
                [integers, integers],
            ),
            "multiply": (
                partial(
                    elementwise.multiply,
                    zero_points=(17, 200),
                    multiplier=float(np.float32(0.0047)),
                    out=OUT,
                    conversion=conversion,
                ),
                [integers, integers],
            ),
        }
        if kind not in makers:
            raise unknown("kernel", kind, makers)
        define, arrays = makers[kind]
        return [scheduled(define, arrays, row)]

    return Kernel(kind, "element-wise", calls)


def of_rows(kind: str, rows: int, length: int) -> Kernel:
    """Return ``softmax`` or ``layer norm`` of float32 ``[rows, length]``."""

    def calls(row: TargetRow) -> list[Call]:
        from ...frontends.onnx.load import load_onnx
        from ..families import Family

        if kind == "softmax":
            family = Family(kind, "Softmax", ((1, rows, length),), (), (("axis", -1),))
        else:
            family = Family(kind, "LayerNormalization", ((1, rows, length),), ((length,), (length,)))
        return of_model(Prepare()(load_onnx(family.model())), row)

    return Kernel(kind, kind, calls)


def product_of_two(batch: int, rows: int, channels: int, inner: int) -> Kernel:
    """Return the product of two uint8 tensors, requantized."""

    def calls(row: TargetRow) -> list[Call]:
        dot = row.any_dot
        arrays = [
            ((batch, rows, inner), "uint8"),
            ((batch, inner, channels), "uint8"),
            ((batch, channels), "int32"),
        ]
        define = partial(
            product.integer_matmul,
            multiplier=float(np.float32(0.0003)),
            dot=Dot(dot.lanes, dot.depth, dot.data_dtype),
            epilogue=_requantized(row),
        )
        return [scheduled(define, arrays, row)]

    name = f"product of two {batch}x{rows}x{channels}x{inner}"
    return Kernel(name, "product of two", calls, batch * rows * channels * inner)


def packed_product(rows: int, channels: int, inner: int, bits: int = 4) -> Kernel:
    """Return uint8 ``[rows, inner]`` times weights of few bits, which lie packed, requantized (scheme ``w4a8``)."""

    def calls(row: TargetRow) -> list[Call]:
        plain = np.full((inner, channels), -(2 ** (bits - 1)), np.int8)
        layout = lay_out(
            *(row, Weight(plain, np.ones(channels), 1), partial(packing.pack_matmul, plain)),
            *(lambda depth: (packing.ceil_div(inner, depth),), False, (0, 255)),
            rows=rows,
        )
        arrays = [
            ((rows, inner), "uint8"),
            (layout.weights.shape, str(layout.weights.dtype)),
            *_per_channel(channels),
        ]
        define = partial(
            contraction.matmul, out_channels=channels, dot=layout.dot, epilogue=_requantized(row)
        )
        return [scheduled(define, arrays, row)]

    name = f"w{bits}a8 {rows}x{channels}x{inner}"
    return Kernel(name, f"{bits}-bit weights", calls, rows * channels * inner, (rows, channels, inner))


def weight_only_product(rows: int, channels: int, inner: int, bits: int = 4) -> Kernel:
    """Return float32 ``[rows, inner]`` times weights of few bits, groups of 32 (scheme ``weight-only``)."""

    group, lanes = 32, packing.word_lanes(inner, bits)
    blocks = packing.ceil_div(inner * bits, 8 * packing.WORD * lanes)
    words = (channels, blocks, lanes, packing.WORD), "uint8"
    scales = (channels, packing.ceil_div(inner, group)), "float32"

    def calls(row: TargetRow) -> list[Call]:
        define = partial(scaled.matmul, bits=bits, group=group)
        return [scheduled(define, [((rows, inner), "float32"), words, scales], row)]

    name = f"weight-only {rows}x{channels}x{inner}"
    return Kernel(name, "weight-only", calls, rows * channels * inner, (rows, channels, inner))


# size of the data, channels in and out, kernel, stride, how often
_RESNET50 = (
    (224, 3, 64, 7, 2, 1),
    (56, 64, 64, 1, 1, 1),
    (56, 64, 64, 3, 1, 3),
    (56, 64, 256, 1, 1, 4),
    (56, 256, 64, 1, 1, 2),
    (56, 256, 128, 1, 1, 1),
    (56, 128, 128, 3, 2, 1),
    (28, 128, 512, 1, 1, 4),
    (56, 256, 512, 1, 2, 1),
    (28, 512, 128, 1, 1, 3),
    (28, 128, 128, 3, 1, 3),
    (28, 512, 256, 1, 1, 1),
    (28, 256, 256, 3, 2, 1),
    (14, 256, 1024, 1, 1, 6),
    (28, 512, 1024, 1, 2, 1),
    (14, 1024, 256, 1, 1, 5),
    (14, 256, 256, 3, 1, 5),
    (14, 1024, 512, 1, 1, 1),
    (14, 512, 512, 3, 2, 1),
    (7, 512, 2048, 1, 1, 3),
    (14, 1024, 2048, 1, 2, 1),
    (7, 2048, 512, 1, 1, 2),
    (7, 512, 512, 3, 1, 2),
)


def products(tiny: bool = False) -> list[Kernel]:
    """Return the product of 4096 cubed and ResNet-50's convolutions at batch 64; or some that an emulator can do."""
    if tiny:
        return [
            int8_product(64, 64, 64),
            float_product(32, 32, 32),
            int8_convolution(1, 8, 3, 16, 3, 2),
            int8_convolution(1, 8, 16, 16, 1),
        ]
    layers = [
        int8_convolution(64, size, into, out, kernel, stride, times)
        for size, into, out, kernel, stride, times in _RESNET50
    ]
    # The commonest first, in case that time runs out.
    layers.sort(key=lambda layer: -layer.macs * layer.times)
    return [int8_product(4096, 4096, 4096), *layers, float_product(4096, 4096, 4096)]


def vectors(tiny: bool = False) -> list[Kernel]:
    """Return products of few rows with weights of 4 bits."""
    if tiny:
        return [packed_product(1, 32, 64), weight_only_product(1, 32, 64)]
    shapes = ((4096, 4096), (11008, 4096), (4096, 11008))  # channels, inner
    packed = [packed_product(rows, *shape) for rows in (1, 8, 2, 4) for shape in shapes]
    return [*packed, *(weight_only_product(rows, 4096, 4096) for rows in (1, 8))]


def memory(tiny: bool = False) -> list[Kernel]:
    """Return what does little with each byte."""
    if tiny:
        return [
            depthwise_convolution(1, 6, 16),
            average_pool(1, 6, 16),
            max_pool(1, 6, 16),
            *(element_wise(kind, (2, 48)) for kind in ("quantize", "dequantize", "table", "add", "multiply")),
            of_rows("softmax", 3, 40),
            of_rows("layer norm", 3, 40),
            product_of_two(2, 17, 16, 32),
        ]
    image = (64, 56, 56, 256)
    return [
        depthwise_convolution(64, 56, 144),
        depthwise_convolution(64, 112, 96, stride=2),
        depthwise_convolution(64, 14, 576),
        depthwise_convolution(64, 28, 240, kernel=5),
        of_rows("softmax", 64 * 12 * 197, 197),
        of_rows("layer norm", 64 * 197, 768),
        *(element_wise(kind, image) for kind in ("quantize", "dequantize", "table", "add", "multiply")),
        max_pool(64, 112, 64),
        average_pool(64, 56, 256),
        product_of_two(64 * 12, 197, 197, 64),
    ]
