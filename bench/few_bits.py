"""``python -m tvmq.bench.few_bits``: kernels of fewer bits beside those of int8 and float, one operator at a time.

Each is timed by tvmq's own clock of that kernel, in turn with the others. Weights are normal, as wide as their bits.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from rich.console import Console

from ..errors import unknown
from . import machine, operators
from .command import check_output, check_positive, run_command
from .isa import ISAS, default_target, get_isa
from .latency import Timer, measure
from .operators import NODE, OPERATORS, OPSET, Operator
from .tables import Table, show_table

DEFAULT = (
    "784x128x1152",
    *("3x3-64-64-56", "3x3-128-128-28", "3x3-256-256-14", "3x3-512-512-7"),
    *("1x1-64-256-56", "1x1-1024-256-14", "1x1-512-2048-7"),
)
"""Large operators of ResNet-50, and one that others publish figures of."""


@dataclass(frozen=True)
class Kind:
    """How an operator is computed.

    Attributes
    ----------
    name : as users name the scheme.
    weight_bits, activation_bits : 32 for float.
    sigma : deviation of the integer weights before they are limited.
    """

    name: str
    weight_bits: int
    activation_bits: int
    sigma: float = 0.0


KINDS: dict[str, Kind] = {
    row.name: row
    for row in (
        Kind("int8", 8, 8),
        Kind("w4a8", 4, 8, 2.6),
        Kind("w4a4", 4, 4, 2.6),
        Kind("w2a8", 2, 8, 0.8),
        Kind("binary", 1, 1),
        Kind("float", 32, 32),
    )
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.few_bits", description=__doc__)
    parser.add_argument(
        "--operators",
        nargs="+",
        default=list(DEFAULT),
        metavar="NAME",
        help="as for python -m tvmq.bench.sweep",
    )
    parser.add_argument(
        "--kinds", nargs="+", default=list(KINDS), metavar="NAME", help=f"some of: {', '.join(KINDS)}"
    )
    parser.add_argument(
        "--isa", default="native", metavar="NAME", help=f"as for python -m tvmq.bench: {', '.join(ISAS)}"
    )
    parser.add_argument("--target", help="such as 'llvm -mcpu=znver3' (default: as --isa)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each kernel (default: 9)")
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.md")
    return parser


def _weights(operator: Operator, kind: Kind) -> np.ndarray:
    """Return int8 weights of as many bits."""
    if kind.weight_bits == 8:
        return operators.weights(operator)
    rng = np.random.default_rng(1)
    if kind.weight_bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), operator.weight_shape)
    low, high = -(2 ** (kind.weight_bits - 1)), 2 ** (kind.weight_bits - 1) - 1
    return np.clip(np.rint(rng.normal(0, kind.sigma, operator.weight_shape)), low, high).astype(np.int8)


class _Graph:
    """Nodes and constants of a model in the making; images are NHWC outside, so that no change of layout is timed."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.input = self("Transpose", "x", perm=[0, 3, 1, 2]) if operator.kernel else "x"

    def __call__(self, op: str, *inputs: str | np.ndarray, name: str = "", **attributes) -> str:
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        output = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, names, [output], name=name or f"n{len(self.nodes)}", **attributes)
        )
        return output

    def _constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def model(self, output: str, channels: int) -> onnx.ModelProto:
        """Return the model whose result, of so many channels, is the value ``output``."""
        operator, info = self.operator, helper.make_tensor_value_info
        given, shape = list(operator.input_shape), [*operator.output_shape[:-1], channels]
        if operator.kernel:
            output = self("Transpose", output, perm=[0, 2, 3, 1])
            given, shape = [given[axis] for axis in (0, 2, 3, 1)], [1, operator.rows, operator.rows, channels]
        graph = helper.make_graph(
            self.nodes,
            operator.name,
            [info("x", onnx.TensorProto.FLOAT, given)],
            [info(output, onnx.TensorProto.FLOAT, shape)],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _multiply(graph: _Graph, data: str, weight: str | np.ndarray, name: str) -> str:
    operator = graph.operator
    if not operator.kernel:
        return graph("MatMul", data, weight, name=name)
    front, back = operator.padding
    pads, strides = [front, front, back, back], [operator.stride] * 2
    return graph("Conv", data, weight, name=name, strides=strides, pads=pads)


def model_of(operator: Operator, kind: Kind) -> onnx.ModelProto:
    """Return the operator between quantize and dequantize, or between steps, where it has bits to save."""
    if kind.activation_bits == 32:
        return operators.channels_last(operators.float_model(operator))
    graph, weight = _Graph(operator), _weights(operator, kind)
    if kind.activation_bits == 1:
        return _binary_model(graph, weight)

    def pair(value: str, scale: float, zero_point: int) -> str:
        parameters = np.float32(scale), np.uint8(zero_point)
        quantized = graph("QuantizeLinear", value, *map(np.asarray, parameters))
        return graph("DequantizeLinear", quantized, *map(np.asarray, parameters))

    value = graph.input
    if kind.activation_bits < 8:
        most = np.float32(2**kind.activation_bits - 1)
        value = graph("Clip", value, np.asarray(np.float32(0)), np.asarray(most))
    data = pair(value, 1.0, 0)
    one, zero = np.asarray(np.float32(1)), np.asarray(np.int8(0))
    result = _multiply(graph, data, graph("DequantizeLinear", weight, one, zero), NODE)
    spread = float(np.abs(weight).mean()) * 2**kind.activation_bits * np.sqrt(operator.summed) / 100
    return graph.model(pair(result, spread, 128), operator.channels)


def _binary_model(graph: _Graph, weight: np.ndarray) -> onnx.ModelProto:
    """Return the operator in front of another on bits, since what nobody reads as bits is not made as bits."""

    def sign(value: str) -> str:
        reached = graph("GreaterOrEqual", value, np.asarray(np.float32(0)))
        return graph("Where", reached, np.asarray(np.float32(1)), np.asarray(np.float32(-1)))

    operator = graph.operator
    result = _multiply(graph, sign(graph.input), weight.astype(np.float32), NODE)
    ones = np.ones((8, operator.channels, 1, 1) if operator.kernel else (operator.channels, 8), np.float32)
    reader = graph("Conv" if operator.kernel else "MatMul", sign(result), ones, name="reader")
    return graph.model(reader, 8)


def _timer(operator: Operator, kind: Kind, target: str) -> Timer:
    import tvmq

    package = tvmq.compile(model_of(operator, kind), target)
    most = 2 ** min(kind.activation_bits, 8) - 1
    shape = package.metadata["inputs"][0]["shape"]
    feed = {"x": np.random.default_rng(0).integers(-most, most + 1, shape).astype(np.float32)}

    def seconds_a_run(number: int) -> float:
        return sum(call.seconds for call in package.profile(feed, number) if NODE in call.layers)

    return seconds_a_run


def _act(arguments: argparse.Namespace, console: Console) -> None:
    check_positive(arguments, "rounds")
    check_output(arguments.output)
    for what, known in (("operators", OPERATORS), ("kinds", KINDS)):
        for name in getattr(arguments, what):
            if name not in known:
                raise unknown(what[:-1], name, known)
    os.environ["TVM_NUM_THREADS"] = "1"
    target = arguments.target or default_target(get_isa(arguments.isa))
    rows = []
    for name in arguments.operators:
        operator = OPERATORS[name]
        timers = {kind: _timer(operator, KINDS[kind], target) for kind in arguments.kinds}
        found = measure(timers, arguments.rounds, lambda: None)
        speeds = {kind: operator.macs / found[kind].median_ms / 1e6 for kind in timers}
        first = speeds[arguments.kinds[0]]
        ratios = [f"{speed:.0f} ({speed / first:.2f})" for speed in speeds.values()]
        rows.append([name, f"{first:.0f}", *ratios[1:]])
    about = [
        machine.cpu_name(),
        f"target {target}, one thread; GMAC/s, and how many times the speed of {arguments.kinds[0]}",
    ]
    show_table(Table(["operator", *arguments.kinds], rows), about, console, arguments.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
