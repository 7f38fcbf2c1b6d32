"""Networks with every kind of kernel give the same integers on each row, as packages and as C libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

import tvmq
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target
from tvmq.targets.rows import ROWS

from .differential.networks import Network

SOFTMAX_TOLERANCE = 4 * 3e-7 + 20 * 2.0**-24
"""Of probabilities, which are at most 1: on either machine each exponential and their sum are off by 3e-7 of 1
(``schedules.softmax``), and nine additions and a division round.
"""

A72 = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"
A76 = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a76"
N2 = "llvm -mtriple=aarch64-linux-gnu -mcpu=neoverse-n2 -mattr=-sve,-sve2"
A7 = "llvm -mtriple=arm-linux-gnueabihf -mcpu=cortex-a7"


@dataclass(frozen=True)
class Form:
    """What a model is compiled to, and the CPU that runs it under emulation."""

    target: str
    cpu: str
    is_c: bool = False


FORMS = {
    "i8mm": Form(N2, "max"),
    "dotprod": Form(A76, "cortex-a76"),
    "neon": Form(A72, "cortex-a72"),
    "neon-c": Form(A72, "cortex-a72", is_c=True),
    "armv7-c": Form(A7, "cortex-a7", is_c=True),
}


def _activated(net: Network, x: str, op_type: str = "Relu") -> str:
    return net.node(op_type, x, shape=net.shapes[x])


def _depthwise(net: Network, x: str, size: int, stride: int = 1) -> str:
    channels = net.shapes[x][1]
    return _activated(net, net.convolve(x, channels, (size, size), (stride, stride), groups=channels))


def _pool(net: Network, x: str, op_type: str) -> str:
    batch, channels, height, width = net.shapes[x]
    shape = (batch, channels, height - 1, width - 1)
    return net.node(op_type, x, shape=shape, kernel_shape=[2, 2])


def images() -> onnx.ModelProto:
    """Return convolutions of every kind, and what is between them; no tile divides their channels and extents."""
    net = Network(0)
    net.shapes["x"] = (1, 3, 21, 19)
    first = _activated(net, net.convolve("x", 19, (3, 3)))
    few = net.convolve(_depthwise(net, _depthwise(net, first, 3), 5), 7, (1, 1))
    strided = _activated(net, net.convolve(_activated(net, few, "Sigmoid"), 33, (3, 3), (2, 2)))
    grouped = _activated(net, net.convolve(strided, 33, (3, 3), groups=3))
    added = net.node("Add", net.convolve(grouped, 33, (1, 1)), strided, shape=net.shapes[strided])
    coarse = net.concatenate(_depthwise(net, added, 3, 2), _depthwise(net, added, 5, 2))
    many = _activated(net, net.convolve(coarse, 131, (1, 1)))
    pooled = net.concatenate(_pool(net, many, "MaxPool"), _pool(net, many, "AveragePool"))
    channels = net.shapes[pooled][1]
    means = net.node("GlobalAveragePool", pooled, shape=(1, channels, 1, 1))
    gate = _activated(net, net.convolve(means, channels, (1, 1)), "Sigmoid")
    gated = net.node("Mul", pooled, gate, shape=net.shapes[pooled])
    return net.model(many, net.convolve(pooled, 37, (1, 1)), net.convolve(gated, 9, (3, 3)))


def vectors() -> onnx.ModelProto:
    """Return products with weights and of two activations, and a softmax at the end."""
    net = Network(1)
    net.shapes["x"] = (3, 17, 33)
    queries, keys = net.multiply("x", 31), net.multiply("x", 31)
    across = net.node("Transpose", keys, shape=(3, 31, 17), perm=[0, 2, 1])
    scores = net.node("MatMul", queries, across, shape=(3, 17, 17))
    values = net.multiply("x", 65)
    mixed = net.node("MatMul", _activated(net, scores, "Tanh"), values, shape=(3, 17, 65))
    last = net.multiply(mixed, 9)
    return net.model(scores, last, _activated(net, last, "Softmax"))


def attended() -> onnx.ModelProto:
    """Return attention, which NEON without dot products computes in float; nothing behind it rounds."""
    net = Network(4)
    net.shapes["x"] = (3, 17, 33)
    queries, keys, values = (net.multiply("x", channels) for channels in (31, 31, 13))
    across = net.node("Transpose", keys, shape=(3, 31, 17), perm=[0, 2, 1])
    scores = _activated(net, net.node("MatMul", queries, across, shape=(3, 17, 17)), "Softmax")
    return net.model(net.node("MatMul", scores, values, shape=(3, 17, 13)))


def rows() -> onnx.ModelProto:
    """Return products with weights and nothing else that rounds; no tile divides their rows and channels."""
    net = Network(3)
    net.shapes["x"] = (3, 17, 33)
    hidden = _activated(net, net.multiply("x", 65))
    return net.model(net.multiply(hidden, 9), net.multiply(hidden, 31))


def few_bits() -> onnx.ModelProto:
    """Return layers between those at the edges, which keep 8 bits: of many rows, of few, and of one."""
    net = Network(2)
    net.shapes["x"] = (1, 3, 13, 11)
    x = _activated(net, net.convolve("x", 35, (3, 3), (2, 2)))
    x = _activated(net, net.convolve(x, 41, (3, 3)))
    x = _activated(net, net.convolve(_depthwise(net, x, 3), 67, (1, 1), (2, 2)))
    x = _activated(net, net.convolve(x, 33, (3, 3), (3, 3)))
    flat = net.node("Flatten", x, shape=(1, int(np.prod(net.shapes[x]))))
    hidden = _activated(net, net.multiply(flat, 75))
    return net.model(net.multiply(hidden, 33))


CASES: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "images": (images, "int8", A72),
    "vectors": (vectors, "int8", A76),
    "rows": (rows, "dynamic", A72),
    "attended": (attended, "int8", A72),
    **{scheme: (few_bits, scheme, A72) for scheme in ("w4a8", "w2a8", "binary")},
}
"""Network, scheme, and the target whose kernels the weights suit: for NEON, sums of several products in int16."""


@pytest.mark.parametrize("case", CASES)
def test_same_integers(case, run_on_arm, run_c_library):
    """One test a network: what runs the tests side by side would quantize it once for each process."""
    make, scheme, target = CASES[case]
    model, rng = make(), np.random.default_rng(0)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    samples = [{"x": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(3)]
    options = tvmq.QuantizeOptions(rounding="nearest", float_below=0.0)
    quantized = tvmq.quantize(model, scheme, target, samples, options=options)
    expected = tvmq.compile(quantized).run(samples[0])
    of_softmax = {node.output[0] for node in model.graph.node if node.op_type == "Softmax"}
    if case == "attended":
        of_softmax |= set(expected)
    for name, form in FORMS.items():
        if form.is_c:
            outputs = run_c_library(tvmq.compile_c_library(quantized, form.target), samples[0], form.cpu)
        else:
            outputs = run_on_arm(tvmq.compile(quantized, form.target), samples[0], form.cpu)
        for output, array in expected.items():
            tolerance = SOFTMAX_TOLERANCE * np.abs(array).max() if output in of_softmax else 0
            np.testing.assert_allclose(outputs[output], array, rtol=0, atol=tolerance, err_msg=name)


def test_every_row_is_among_them():
    rows = {row_of(parse_target(form.target)).name for form in FORMS.values()}
    assert rows == {row.name for row in ROWS if row.arch != "x86_64"}
