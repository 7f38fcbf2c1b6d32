"""``python -m tvmq.bench.saturation``: what int8 costs on a CPU that has AVX2 but not VNNI, way by way.

There, ``pmaddubsw`` adds two u8 x s8 products in saturating int16. It is exact where the weights of each pair that
meets in a lane keep their sum, by sign, within 128. The ways to make them, or to do without:

- exact: widen both operands to int16 and use ``pmaddwd`` alone; any weights (what tvmq does)
- channel scale: enlarge the scale of each output channel that has a pair beyond the limit
- smaller activations: activations of at most 218 instead of 255, and channel scales as far as then still needed
- 7-bit weights: no pair can be beyond the limit

The accuracy of each is that of MobileNetV2 with its pointwise and dense weights so rewritten; the speed is that of the
two inner loops in the same kernel, exact in both.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import tvm
from rich.console import Console
from rich.table import Table
from tvm import relax, te

from .. import api
from ..passes.arithmetic import Output
from ..passes.compute import contraction, packing
from ..passes.compute.contraction import Dot
from ..passes.compute.epilogue import Requantize
from ..passes.graph import is_constant, op_name, rebuild, to_numpy
from ..passes.realizers.weights import largest_pair
from ..schedules.rules import schedule
from ..targets.rows import ROWS, DotInstruction, TargetRow
from .accuracy import Accuracy, assess, predict
from .engines import calibration_feeds
from .latency import measure
from .machine import cpu_name
from .subjects import load_subject

AVX2 = next(row for row in ROWS if row.name == "x86-avx2")
PAIR_LIMIT = 128
REDUCED_MAXIMUM = 218
Rewrite = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""``(int8 weights [O, I, taps], float scales [O]) -> the same, rewritten``."""


def pair_excess(values: np.ndarray, limit: float) -> np.ndarray:
    """Return for each output channel by what factor its worst pair of adjacent input channels exceeds ``limit``."""
    return np.array([max(largest_pair(channel) / limit, 1.0) for channel in values])


def enlarge(values: np.ndarray, scale: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge the scales of channels until no pair exceeds the limit; rounding may take a few steps."""
    number = values * scale[:, None, None]
    factor = pair_excess(values, limit)
    rewritten = values
    while (pair_excess(rewritten, limit) > 1).any():
        rewritten = np.rint(number / (scale * factor)[:, None, None]).astype(np.int8)
        factor = np.where(pair_excess(rewritten, limit) > 1, factor * 1.005, factor)
    return rewritten, (scale * factor).astype(np.float32)


def seven_bits(values: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve the weights' range."""
    return np.clip(np.rint(values / 2), -64, 63).astype(np.int8), scale * 2


WAYS: dict[str, Rewrite] = {
    "exact (pmaddwd)": lambda values, scale: (values, scale),
    "channel scale": partial(enlarge, limit=PAIR_LIMIT),
    f"activations to {REDUCED_MAXIMUM}, channel scale": partial(enlarge, limit=32767 / REDUCED_MAXIMUM),
    "7-bit weights": seven_bits,
}


def rewrite_weights(mod: tvm.IRModule, way: Rewrite) -> tvm.IRModule:
    """Return the Q/DQ module with the weights of dense and of ungrouped convolution rewritten."""

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if op_name(value) != "relax.dequantize" or not is_constant(value.args[0]):
            return value
        values, scale, _ = (to_numpy(argument) for argument in value.args)
        if values.ndim not in (2, 4) or values.shape[1] == 1:
            return value
        by_channel = values.T if values.ndim == 2 else values
        rewritten, scale = way(by_channel.reshape(*by_channel.shape[:2], -1), scale)
        rewritten = rewritten.reshape(by_channel.shape)
        back = np.ascontiguousarray(rewritten.T if values.ndim == 2 else rewritten)
        return relax.Call(
            value.op, [relax.const(back), relax.const(scale), value.args[2]], value.attrs, span=value.span
        )

    return rebuild(mod, rewrite)


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
        dot=Dot(dot.lanes, dot.depth, dot.data_dtype),
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
    """Return GMAC/s of both inner loops in one matmul kernel, medians of interleaved rounds."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (rows, inner)).astype(np.uint8)
    weight = rng.integers(-64, 64, (inner, channels)).astype(np.int8)
    timers = {dot.intrinsic: timer_of_matmul(AVX2, dot, data, weight) for dot in AVX2.dots}
    found = measure(timers, rounds, lambda: None)
    return {name: rows * inner * channels / found[name].median_ms / 1e6 for name in timers}


def accuracies(limit: int) -> dict[str, Accuracy]:
    """Return MobileNetV2's accuracy with its weights rewritten in each way."""
    subject = load_subject("mobilenetv2", limit)
    shapes = {subject.model.input: subject.input_shape}

    def logits(package: api.Package) -> np.ndarray:
        (output,) = package.metadata["outputs"]
        run = package.run
        return predict(
            lambda sample: run({subject.model.input: sample})[output["name"]],
            subject.data.samples,
            lambda: None,
        )

    reference = logits(api.compile(str(subject.path), input_shapes=shapes))
    quantized = api.quantize(
        str(subject.path), calibration=list(calibration_feeds(subject)), input_shapes=shapes
    )
    found = {}
    for name, way in WAYS.items():
        rewritten = replace(quantized, mod=rewrite_weights(quantized.mod, way))
        found[name] = assess(logits(api.compile(rewritten)), reference, subject.data.labels)
    return found


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
    table = Table("weights", "top-1 %", "agrees %", "cosine")
    for name, found in accuracies(arguments.samples).items():
        table.add_row(name, f"{found.top1:.1%}", f"{found.agreement:.1%}", f"{found.cosine:.4f}")
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
