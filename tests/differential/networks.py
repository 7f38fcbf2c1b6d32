"""Random quantized networks: their integers on each target, beside the definition of their kernels in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

import tvmq
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.realize.layout import Layout
from tvmq.passes.realize.realize import Realize
from tvmq.schedules.pipeline import legalize
from tvmq.targets import host
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from .check import run
from .interpreter import evaluate

TARGETS = {
    "x86-avx2": "llvm -mcpu=haswell",
    "x86-avx512": "llvm -mcpu=skylake-avx512",
    "x86-avx512vnni": "llvm -mcpu=cascadelake",
    "x86-avxvnni": "llvm -mcpu=alderlake",
}
"""Row to a CPU that has it."""

SCHEMES = ("int8", "int4", "w4a4", "int2", "ternary", "binary")
"""Of which each seed has one."""

SAMPLES = 3

FLOAT_TOLERANCE = 2e-2
"""Of the largest result, where a layer stays float: its last bits may move an integer behind it by one."""


@dataclass
class Network:
    """A network in the making; every value has a batch and, for images, [N, C, H, W]."""

    seed: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def extent(self) -> int:
        """Return a number around the sizes of tiles."""
        return int(self.rng.choice((1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49)))

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        spread = self.rng.choice((0.05, 0.5, 2)) / np.sqrt(max(1, np.prod(shape[1:])))
        self.weights.append(
            numpy_helper.from_array(self.rng.normal(0, spread, shape).astype("float32"), name)
        )
        return name

    def constant(self, values) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op_type: str, *inputs: str, shape: tuple[int, ...], **attributes) -> str:
        name = f"v{len(self.shapes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"{op_type}_{name}", **attributes))
        self.shapes[name] = shape
        return name

    def convolve(
        self,
        x: str,
        filters: int,
        kernel: Sequence[int],
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> str:
        """Add a convolution; without ``pads``, of as many outputs as inputs where the stride is 1."""
        batch, channels, *extents = self.shapes[x]
        if pads is None:
            pads = [*((k - 1) // 2 for k in kernel), *(k // 2 for k in kernel)]
        room = [n + pads[axis] + pads[2 + axis] - kernel[axis] for axis, n in enumerate(extents)]
        shape = (batch, filters, *(r // s + 1 for r, s in zip(room, strides, strict=True)))
        operands = [self.weight(filters)] if bias else []
        weight = self.weight(filters, channels // groups, *kernel)
        window = {"pads": list(pads), "strides": list(strides)}
        return self.node("Conv", x, weight, *operands, shape=shape, group=groups, **window)

    def multiply(self, x: str, columns: int) -> str:
        """Add a product of the last axis with a matrix."""
        shape = self.shapes[x]
        return self.node("MatMul", x, self.weight(shape[-1], columns), shape=(*shape[:-1], columns))

    def concatenate(self, x: str, other: str) -> str:
        """Add a concatenation of the second axis."""
        (batch, channels, *rest), (_, more, *_) = self.shapes[x], self.shapes[other]
        return self.node("Concat", x, other, shape=(batch, channels + more, *rest), axis=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """Return the network of the input ``"x"`` that ends in these values."""
        graph = helper.make_graph(
            self.nodes,
            f"network_{self.seed}",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, self.shapes["x"])],
            [
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, self.shapes[name])
                for name in outputs
            ],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _convolve(net: Network, x: str) -> str:
    _, channels, height, width = net.shapes[x]
    groups = int(net.rng.choice([1, 1, 1, channels, *(2 for _ in range(channels % 2 == 0))]))
    filters = channels if groups == channels else net.extent() * groups
    kernel = [min(net.integer(1, 3), height), min(net.integer(1, 3), width)]
    pads = [net.integer(0, k - 1) for _ in range(2) for k in kernel]
    strides = [net.integer(1, 2), net.integer(1, 2)]
    bias = bool(net.rng.random() < 0.7)
    return net.convolve(x, filters, kernel, strides, pads, groups, bias)


def _multiply_matrices(net: Network, x: str) -> str:
    product = net.multiply(x, net.extent())
    shape = net.shapes[product]
    return net.node("Add", product, net.weight(shape[-1]), shape=shape) if net.rng.random() < 0.5 else product


def _activate(net: Network, x: str) -> str:
    kind = str(net.rng.choice(("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSwish", "Tanh")))
    bounds = [net.constant(np.float32(bound)) for bound in (0, 6)] if kind == "Clip" else []
    return net.node(kind, x, *bounds, shape=net.shapes[x])


def _add(net: Network, x: str) -> str:
    same = [name for name, shape in net.shapes.items() if shape == net.shapes[x] and name != x]
    if not same:
        return _activate(net, x)
    other = str(net.rng.choice(same))
    return net.node(str(net.rng.choice(("Add", "Mul", "Sub"))), x, other, shape=net.shapes[x])


def _concat(net: Network, x: str) -> str:
    shape = net.shapes[x]
    same = [
        name
        for name, other in net.shapes.items()
        if len(other) == len(shape) and other[0] == shape[0] and other[2:] == shape[2:]
    ]
    return net.concatenate(x, str(net.rng.choice(same)))


def _pool(net: Network, x: str) -> str:
    batch, channels, height, width = net.shapes[x]
    if net.rng.random() < 0.3:
        return net.node("GlobalAveragePool", x, shape=(batch, channels, 1, 1))
    kernel = [min(2, height), min(2, width)]
    kind = str(net.rng.choice(("MaxPool", "AveragePool")))
    shape = (batch, channels, height - kernel[0] + 1, width - kernel[1] + 1)
    return net.node(kind, x, shape=shape, kernel_shape=kernel)


def _move(net: Network, x: str) -> str:
    shape = net.shapes[x]
    order = [0, *(1 + net.rng.permutation(len(shape) - 1)).tolist()]
    return net.node("Transpose", x, shape=tuple(shape[axis] for axis in order), perm=order)


IMAGE_STEPS: tuple[Callable[[Network, str], str], ...] = (
    _convolve,
    _convolve,
    _convolve,
    _activate,
    _add,
    _concat,
    _pool,
    _move,
)
VECTOR_STEPS: tuple[Callable[[Network, str], str], ...] = (
    _multiply_matrices,
    _multiply_matrices,
    _activate,
    _add,
    _concat,
    _move,
)


def draw_network(seed: int) -> onnx.ModelProto:
    """Return the float network of a seed: an image or rows of vectors through a few layers."""
    net = Network(seed)
    is_image = net.rng.random() < 0.5
    batch = net.integer(1, 3)
    if is_image:
        shape = (batch, net.extent(), net.integer(1, 9), net.integer(1, 9))
    else:
        shape = (batch, *(net.integer(1, 9) for _ in range(net.integer(0, 2))), net.extent())
    net.shapes["x"] = shape
    x = (_convolve if is_image else _multiply_matrices)(net, "x")
    steps = IMAGE_STEPS if is_image else VECTOR_STEPS
    for _ in range(net.integer(2, 5)):
        x = steps[net.integer(0, len(steps) - 1)](net, x)
        if np.prod(net.shapes[x]) > 20_000:
            break
    # What ends in a product ends in an accumulator, and not in float arithmetic.
    x = (_convolve if is_image else _multiply_matrices)(net, x)
    return net.model(x)


def targets_here() -> Iterator[tuple[str, str]]:
    """Yield the rows whose code this machine runs, and their targets."""
    for name, target in TARGETS.items():
        row = row_of(parse_target(target))
        if not host.missing_features("x86_64", row.features):
            yield name, target


def network_differences(seed: int, target: str | None = None) -> list[str]:
    """Return a line for each target whose results are not the definition's, or not those of the first target.

    Without a target, on each x86 target that this machine has. They must be the same bits, unless a layer stays in
    float: then they may differ by the rounding of a few operators.
    """
    model, scheme = draw_network(seed), SCHEMES[seed % len(SCHEMES)]
    options = tvmq.QuantizeOptions(rounding="nearest")
    shape = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    rng = np.random.default_rng(seed)
    samples = [{"x": rng.normal(0, 1, shape).astype("float32")} for _ in range(SAMPLES)]
    found, expected = [], {}
    try:
        known = targets_here() if target is None else [(target, target)]
        compiled_for = "llvm -mcpu=haswell" if target is None else target
        quantized = tvmq.quantize(model, scheme, compiled_for, samples, options=options).mod
        for name, each in known:
            (result,) = run(quantized, each, samples[0])
            parsed = parse_target(each)
            row = row_of(parsed)
            realized = Realize(row)(Layout()(quantized))
            with parsed:
                (expected[f"the definition for {name}"],) = evaluate(legalize(row)(realized), samples[0])
            is_exact = all(layer.status != "float" for layer in get_layers(realized))
            for other, array in expected.items():
                gap = np.abs(result - array)
                wrong = gap > (0 if is_exact else FLOAT_TOLERANCE * np.abs(array).max(initial=0))
                if wrong.any():
                    found.append(f"{name} differs from {other} in {int(wrong.sum())} of {wrong.size}")
            expected[name] = result
    except Exception as error:  # whatever is raised is a finding
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        found.append(f"{type(error).__name__}: {lines[0][:300]}")
    return found
