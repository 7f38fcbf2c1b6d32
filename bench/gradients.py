"""``python -m tvmq.bench.gradients``: kernels of training, one layer at a time, beside NumPy's products of matrices.

    y = conv2d(x, w)    dx from dy, w    dw from x, dy

Weights are parameters: their packing is a part of the time. Pointwise layers are products, so NumPy can do them too.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tvm
from rich.console import Console
from rich.progress import Progress
from tvm import relax

from ..errors import unknown
from ..passes.train.kernels.convolution import data_gradient, weight_gradient
from ..runtime.workers import run_kernels
from ..schedules import pipeline
from ..targets.features import row_of, threads_of
from ..targets.parse import parse_target
from . import machine
from .command import check_output, check_positive, run_command
from .latency import Timer, measure, timer_of_call
from .report import facts
from .tables import Table, show_table

KINDS = ("forward", "data", "weight")


@dataclass(frozen=True)
class Layer:
    """A square convolution that is padded by half of its kernel.

    Attributes
    ----------
    size, inputs, channels : of the image, its channels, and the result's.
    kernel, stride : of the filter.
    depthwise : whether each channel has its own filter.
    """

    size: int
    inputs: int
    channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False

    @property
    def name(self) -> str:
        """What users type."""
        kind = "dw" if self.depthwise else f"{self.kernel}x{self.kernel}"
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{kind}{stride}-{self.inputs}-{self.channels}-{self.size}"

    @property
    def out_size(self) -> int:
        """Height and width of the result."""
        return -(-self.size // self.stride)

    def shapes(self, batch: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of data, weights and result."""
        inner = 1 if self.depthwise else self.inputs
        return (
            (batch, self.size, self.size, self.inputs),
            (self.channels, inner, self.kernel, self.kernel),
            (batch, self.out_size, self.out_size, self.channels),
        )

    def call(self, data: relax.Expr, weight: relax.Expr) -> relax.Call:
        """Return the convolution."""
        return relax.op.nn.conv2d(
            *(data, weight, self.stride, self.kernel // 2, 1, self.inputs if self.depthwise else 1),
            data_layout="NHWC",
            kernel_layout="OIHW",
        )

    def macs(self, batch: int) -> int:
        """Return the multiplications of each of the three."""
        _, weight, result = self.shapes(batch)
        return math.prod(result) * math.prod(weight[1:])


LAYERS: dict[str, Layer] = {
    layer.name: layer
    for layer in (
        Layer(224, 3, 32, kernel=3, stride=2),
        *(
            Layer(size, inputs, channels)
            for size, inputs, channels in (
                *((112, 32, 16), (112, 16, 96), (56, 96, 24), (56, 24, 144), (28, 144, 32), (28, 32, 192)),
                *((14, 64, 384), (14, 384, 96), (14, 96, 576), (7, 576, 160), (7, 160, 960), (7, 320, 1280)),
            )
        ),
        *(
            Layer(size, channels, channels, 3, stride, depthwise=True)
            for size, channels, stride in (
                *(
                    (112, 32, 1),
                    (112, 96, 2),
                    (56, 144, 1),
                    (28, 192, 1),
                    (14, 384, 1),
                    (14, 576, 2),
                    (7, 960, 1),
                ),
            )
        ),
        *(Layer(size, channels, channels, 3) for size, channels in ((32, 16), (16, 32), (8, 64))),
        Layer(32, 16, 32, kernel=3, stride=2),
    )
}
"""Of MobileNetV2 at 224 x 224, and of ResNet-20."""


def _compiled(layer: Layer, kind: str, batch: int, target: tvm.target.Target) -> Callable[..., object]:
    """Return the kernels of one of ``KINDS``, which take data, weights and gradient."""
    params = [
        relax.Var(name, relax.TensorType(shape, "float32"))
        for name, shape in zip(("x", "w", "dy"), layer.shapes(batch), strict=True)
    ]
    data, weight, gradient = params
    call = layer.call(data, weight)
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            made = {
                "forward": lambda: call,
                "data": lambda: data_gradient(builder, call, data, weight, gradient),
                "weight": lambda: weight_gradient(builder, call, data, weight, gradient),
            }[kind]()
            out = builder.emit_output(builder.normalize(made))
        builder.emit_func_output(out)
    built = pipeline.build(builder.get(), target, row_of(target))
    return relax.VirtualMachine(built.executable, tvm.cpu())["main"]


def timers_of(layer: Layer, batch: int, target: tvm.target.Target) -> dict[str, Timer]:
    """Return what runs each of ``KINDS``, and NumPy's product for the weights of a pointwise layer."""
    rng, cores = np.random.default_rng(0), threads_of(target)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in layer.shapes(batch)]
    tensors = [tvm.runtime.tensor(array) for array in arrays]

    def runs(kind: str) -> Callable[[], object]:
        main = _compiled(layer, kind, batch, target)
        return lambda: run_kernels(cores, lambda: main(*tensors))

    found = {kind: runs(kind) for kind in KINDS}
    if layer.kernel == 1:
        data, _, gradient = (array.reshape(-1, array.shape[-1]) for array in arrays)
        found["NumPy, weight"] = lambda: gradient.T @ data
    return {name: timer_of_call(run) for name, run in found.items()}


def table_of(found: dict[str, dict[str, float]], batch: int) -> Table:
    """Return milliseconds, and how many thousand million multiply-adds a second these are."""
    names = (*KINDS, "NumPy, weight")

    def cell(layer: str, milliseconds: float | None) -> str:
        if milliseconds is None:
            return ""
        return f"{milliseconds:.2f} ({LAYERS[layer].macs(batch) / milliseconds / 1e6:.0f})"

    return Table(
        ("operator", *(f"{name} ms (GMAC/s)" for name in names)),
        [(layer, *(cell(layer, times.get(name)) for name in names)) for layer, times in found.items()],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.gradients", description=__doc__)
    parser.add_argument(
        "--layers", nargs="+", default=[*LAYERS], metavar="NAME", help=f"some of: {' '.join(LAYERS)}"
    )
    parser.add_argument(
        "--target", default="llvm -mcpu=native -num-cores=1", help="tvmq's target (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=8, help="images (default: 8)")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each (default: 20)")
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.md")
    return parser


def _act(arguments: argparse.Namespace, console: Console) -> None:
    check_positive(arguments, "rounds", "batch")
    check_output(arguments.output)
    for name in arguments.layers:
        if name not in LAYERS:
            raise unknown("layer", name, LAYERS)
    target, before = parse_target(arguments.target), machine.describe()
    found: dict[str, dict[str, float]] = {}
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(arguments.layers, description="layers"):
            timers = timers_of(LAYERS[name], arguments.batch, target)
            latencies = measure(timers, arguments.rounds, lambda: None)
            found[name] = {kind: latency.median_ms for kind, latency in latencies.items()}
    settings = {"target": arguments.target, "batch": arguments.batch, "rounds": arguments.rounds}
    about = list(facts(before, settings, machine.versions(("numpy",))))
    show_table(table_of(found, arguments.batch), about, console, arguments.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
