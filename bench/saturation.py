"""``python -m tvmq.bench.saturation``: what int8 costs on a CPU that has AVX2 but not VNNI.

There, ``pmaddubsw`` adds two u8 x s8 products in saturating int16, and the kernels add two such sums before they widen
them. That is exact where the weights that meet in a lane keep their sum, by sign, within 128. Either the weights are
quantized so that they do, or both operands are widened to int16 for ``pmaddwd`` alone. Both ways are measured on
MobileNetV2, with and without bias correction; then the inner loops by themselves, in the same kernel. All are exact.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import tvm
from rich.console import Console
from rich.table import Table
from tvm import te

from .. import api
from ..passes.annotate.options import QuantizeOptions
from ..passes.hub import packing
from ..passes.hub.arithmetic import Output
from ..passes.realize.compute import contraction
from ..passes.realize.compute.dots import Dot
from ..passes.realize.compute.epilogue import Requantize
from ..schedules.rules import schedule
from ..targets.row import DotInstruction, TargetRow
from ..targets.rows import ROWS
from .accuracy import Accuracy, assess, predict
from .engines import Run, calibration_feeds
from .latency import Latency, measure, timer_of
from .machine import cpu_name
from .subjects import load_subject

AVX2 = next(row for row in ROWS if row.name == "x86-avx2")
TARGET = "llvm -mcpu=x86-64-v3"
WAYS = {
    "sums kept small, pmaddubsw": QuantizeOptions(),
    "all 8 bits, pmaddwd": QuantizeOptions(pair_safe_weights=False),
    "sums kept small, biases not corrected": QuantizeOptions(bias_correction="none"),
    "all 8 bits, biases not corrected": QuantizeOptions(pair_safe_weights=False, bias_correction="none"),
}


def timer_of_matmul(
    row: TargetRow, dot: DotInstruction, data: np.ndarray, weight: np.ndarray
) -> Callable[[int], float]:
    """Return the timer of one matmul kernel with this dot product."""
    channels = weight.shape[1]
    arrays = [
        data,
        packing.pack_matmul(weight, dot.lanes, dot.depth),
        packing.pack_channels(np.zeros(channels, np.int32), 1, dot.lanes),
        packing.pack_channels(np.full(channels, 1e-3, np.float32), 1, dot.lanes),
    ]
    placeholders = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    result = contraction.matmul(
        *placeholders,
        out_channels=channels,
        dot=Dot(dot.lanes, dot.depth, dot.data_dtype, steps=dot.steps),
        epilogue=Requantize(Output("uint8", 128, 0, 255)),
    )
    func = te.create_prim_func([*placeholders, result]).with_attr("global_symbol", "main")
    target = tvm.target.Target({"kind": "llvm", "mcpu": "haswell"})
    library = tvm.compile(schedule(func, row, 1, "main"), target=target)
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    out = tvm.runtime.tensor(np.zeros((len(data), channels), np.uint8))

    def seconds_a_run(number: int) -> float:
        start = time.perf_counter()
        for _ in range(number):
            library["main"](*tensors, out)
        return (time.perf_counter() - start) / number

    return seconds_a_run


def speeds(rows: int, inner: int, channels: int, rounds: int) -> dict[str, float]:
    """Return GMAC/s of each inner loop in one matmul kernel, medians of interleaved rounds."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (rows, inner)).astype(np.uint8)
    weight = rng.integers(-16, 17, (inner, channels)).astype(np.int8)  # small enough for every loop
    timers = {dot.intrinsic: timer_of_matmul(AVX2, dot, data, weight) for dot in AVX2.dots}
    found = measure(timers, rounds, lambda: None)
    return {name: rows * inner * channels / found[name].median_ms / 1e6 for name in timers}


def models(limit: int, rounds: int) -> dict[str, tuple[Accuracy, Latency]]:
    """Return MobileNetV2's accuracy against the float model, and its latency, in each way."""
    subject = load_subject("mobilenetv2", limit)
    name, path, shapes = subject.model.input, str(subject.path), {subject.model.input: subject.input_shape}
    samples = subject.data.samples

    def run_of(package: api.Package) -> Run:
        (output,) = package.metadata["outputs"]
        return lambda sample: package.run({name: sample})[output["name"]]

    reference = predict(run_of(api.compile(path, TARGET, input_shapes=shapes)), samples, lambda: None)
    runs = {}
    for way, options in WAYS.items():
        feeds = list(calibration_feeds(subject))
        quantized = api.quantize(path, "int8", TARGET, feeds, input_shapes=shapes, options=options)
        runs[way] = run_of(api.compile(quantized, TARGET))
    latencies = measure({way: timer_of(run, samples[:1]) for way, run in runs.items()}, rounds, lambda: None)
    return {
        way: (assess(predict(run, samples, lambda: None), reference, subject.data.labels), latencies[way])
        for way, run in runs.items()
    }


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tvmq.bench.saturation", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--samples", type=int, default=400, help="images to evaluate on (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ["TVM_NUM_THREADS"] = "1"
    console = Console()
    console.print(cpu_name())
    table = Table("MobileNetV2", "top-1 %", "agrees %", "cosine", "ms")
    for way, (accuracy, latency) in models(arguments.samples, arguments.rounds).items():
        table.add_row(
            way,
            *(f"{accuracy.top1:.1%}", f"{accuracy.agreement:.1%}", f"{accuracy.cosine:.4f}"),
            f"{latency.median_ms:.2f}",
        )
    console.print(table)
    table = Table("matmul", *(dot.intrinsic for dot in AVX2.dots), title="GMAC/s, one thread")
    for shape in ((784, 1152, 128), (196, 96, 576), (49, 960, 160)):
        table.add_row(
            "x".join(map(str, shape)),
            *(f"{speed:.0f}" for speed in speeds(*shape, arguments.rounds).values()),
        )
    console.print(table)


if __name__ == "__main__":
    main()
