"""``python -m tvmq.bench.families``: one operator at a time, of every family, beside onnxruntime.

A network hides a slow operator that it has few of; here each stands alone, over a shape that networks have. Data are
random, and times those of whole calls from Python.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from ..errors import TvmqError, unknown
from . import machine
from .command import check_output, check_positive, run_command
from .report import facts
from .tables import Table, show_table

OPSET = 20
MICROSOFT = "com.microsoft"
TWO_OUTPUTS = frozenset({"EmbedLayerNormalization", "TopK"})
FIELDS = ("onnxruntime", "float", "int8")


@dataclass(frozen=True)
class Family:
    """One operator with constants and attributes.

    Attributes
    ----------
    name : what users type.
    op : ONNX's operator.
    data : shapes of the inputs that vary.
    constants : shapes of those behind them that do not, or the arrays themselves; None for one that is left out.
    attributes : of the node.
    domain : of the operator.
    rows : of a table that the data are indices of; 0 where they are numbers.
    """

    name: str
    op: str
    data: tuple[tuple[int, ...], ...]
    constants: tuple[tuple[int, ...] | np.ndarray | None, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    domain: str = ""
    rows: int = 0

    def model(self) -> onnx.ModelProto:
        """Return the model of this one node."""
        rng = np.random.default_rng(0)
        inputs = [f"x{place}" for place in range(len(self.data))]
        names, weights = list(inputs), []
        for place, constant in enumerate(self.constants):
            names.append("" if constant is None else f"c{place}")
            if isinstance(constant, tuple):
                scale = 1 / math.sqrt(max(1, math.prod(constant[1:])))
                constant = (rng.standard_normal(constant) * scale).astype(np.float32)
            if constant is not None:
                weights.append(numpy_helper.from_array(constant, names[-1]))
        outputs = ["y", "index"] if self.op in TWO_OUTPUTS else ["y"]
        node = helper.make_node(self.op, names, outputs, domain=self.domain, **dict(self.attributes))
        given = onnx.TensorProto.INT32 if self.rows else onnx.TensorProto.FLOAT
        values = [
            helper.make_tensor_value_info(name, given, shape)
            for name, shape in zip(inputs, self.data, strict=True)
        ]
        kind = onnx.TensorProto.INT64 if self.op == "ArgMax" else onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [node], self.name, values, [helper.make_tensor_value_info("y", kind, None)], weights
        )
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        return onnx.shape_inference.infer_shapes(model)

    def sample(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Return random inputs."""
        rng = np.random.default_rng(seed)

        def draw(shape: tuple[int, ...]) -> np.ndarray:
            if self.rows:
                return rng.integers(0, self.rows, shape, np.int32)
            return rng.standard_normal(shape).astype(np.float32)

        return {f"x{place}": draw(shape) for place, shape in enumerate(self.data)}


def _conv(
    name: str, data: tuple[int, ...], weight: tuple[int, ...], op: str = "Conv", **attributes: Any
) -> Family:
    return Family(name, op, (data,), (weight,), tuple(attributes.items()))


def _axes(*axes: int) -> np.ndarray:
    return np.array(axes, np.int64)


_IMAGE = (1, 64, 56, 56)
_TOKENS, _HIDDEN = (1, 197, 768), (1, 197, 3072)
FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        _conv("conv 1x1", (1, 128, 28, 28), (128, 128, 1, 1)),
        _conv("conv 3x3", _IMAGE, (64, 64, 3, 3), pads=[1, 1, 1, 1]),
        _conv("conv 3x3 of 66 channels", (1, 66, 28, 28), (66, 66, 3, 3), pads=[1, 1, 1, 1]),
        _conv("conv 3x3, dilation 2", (1, 64, 28, 28), (64, 64, 3, 3), pads=[2, 2, 2, 2], dilations=[2, 2]),
        _conv("conv 3x3, dilation 24", (1, 64, 20, 20), (64, 64, 3, 3), pads=[24] * 4, dilations=[24, 24]),
        _conv("conv grouped", (1, 128, 28, 28), (128, 4, 3, 3), group=32, pads=[1, 1, 1, 1]),
        _conv("conv depthwise", (1, 144, 56, 56), (144, 1, 3, 3), group=144, pads=[1, 1, 1, 1]),
        _conv("conv 1-D", (1, 64, 2048), (64, 64, 5), pads=[2, 2]),
        _conv("conv 3-D", (1, 32, 8, 28, 28), (32, 32, 3, 3, 3), pads=[1] * 6),
        _conv("transposed 2x2", (1, 64, 28, 28), (64, 32, 2, 2), "ConvTranspose", strides=[2, 2]),
        _conv(
            "transposed 3x3", (1, 64, 28, 28), (64, 32, 3, 3), "ConvTranspose", strides=[2, 2], pads=[1] * 4
        ),
        _conv(
            "transposed 4x4", (1, 64, 28, 28), (64, 32, 4, 4), "ConvTranspose", strides=[2, 2], pads=[1] * 4
        ),
        _conv(
            *("transposed depthwise", (1, 64, 28, 28), (64, 1, 4, 4), "ConvTranspose"),
            strides=[2, 2],
            pads=[1] * 4,
            group=64,
        ),
        _conv("product with weights", (1, 197, 768), (768, 768), "MatMul"),
        Family("product of two", "MatMul", ((1, 12, 197, 64), (1, 12, 64, 197))),
        Family("product of two, one row", "MatMul", ((1, 12, 1, 64), (1, 12, 64, 300))),
        Family("softmax", "Softmax", ((1, 12, 197, 197),), (), (("axis", -1),)),
        Family("softmax of channels", "Softmax", ((1, 21, 65, 65),), (), (("axis", 1),)),
        Family("layer norm", "LayerNormalization", (_TOKENS,), ((768,), (768,))),
        Family(
            "layer norm of a sum",
            "SkipLayerNormalization",
            (_TOKENS, _TOKENS),
            ((768,), (768,)),
            (),
            MICROSOFT,
        ),
        Family("RMS norm", "SimplifiedLayerNormalization", (_TOKENS,), ((768,),), (("axis", -1),)),
        Family("group norm", "GroupNormalization", (_IMAGE,), ((8,), (8,)), (("num_groups", 8),)),
        Family("instance norm", "InstanceNormalization", (_IMAGE,), ((64,), (64,))),
        Family(
            "resize linear",
            "Resize",
            ((1, 64, 28, 28),),
            (None, None, _axes(1, 64, 56, 56)),
            (("mode", "linear"),),
        ),
        Family(
            "resize cubic",
            "Resize",
            ((1, 32, 28, 28),),
            (None, None, _axes(1, 32, 56, 56)),
            (("mode", "cubic"),),
        ),
        Family(
            "resize nearest",
            "Resize",
            ((1, 64, 28, 28),),
            (None, None, _axes(1, 64, 56, 56)),
            (("mode", "nearest"),),
        ),
        Family("max pool", "MaxPool", (_IMAGE,), (), (("kernel_shape", [3, 3]), ("strides", [2, 2]))),
        Family("average pool", "AveragePool", (_IMAGE,), (), (("kernel_shape", [2, 2]), ("strides", [2, 2]))),
        Family("global average", "GlobalAveragePool", (_IMAGE,)),
        Family("mean of rows", "ReduceMean", ((1, 197, 768),), (_axes(-1),)),
        Family("mean of columns", "ReduceMean", ((1, 197, 768),), (_axes(1),)),
        Family("mean of odd rows", "ReduceMean", ((64, 37, 53),), (_axes(-1),)),
        Family("max of all", "ReduceMax", ((1, 197, 768),), (_axes(0, 1, 2),)),
        Family("argmax", "ArgMax", ((1, 197, 768),), (), (("axis", -1),)),
        Family("top-k", "TopK", ((1, 10000),), (_axes(10),)),
        Family("cumulative sum", "CumSum", ((64, 1000),), (np.array(1, np.int64),)),
        Family("gather", "Gather", ((1000, 256),), (np.arange(0, 1000, 3),), (("axis", 0),)),
        Family(
            "embeddings and layer norm",
            "EmbedLayerNormalization",
            ((1, 197),),
            (None, (30522, 384), (512, 384), None, (384,), (384,)),
            (),
            MICROSOFT,
            rows=30522,
        ),
        Family(
            "rotary embedding",
            "RotaryEmbedding",
            ((1, 12, 197, 64),),
            (np.arange(197)[None], (256, 32), (256, 32)),
            (),
            MICROSOFT,
        ),
        Family("attention", "MultiHeadAttention", (_TOKENS,) * 3, (), (("num_heads", 12),), MICROSOFT),
        Family("sigmoid", "Sigmoid", (_IMAGE,)),
        Family("hard-swish", "HardSwish", (_IMAGE,)),
        Family("erf", "Erf", (_IMAGE,)),
        Family("GELU", "Gelu", (_HIDDEN,)),
        Family("GELU by tanh", "Gelu", (_HIDDEN,), (), (("approximate", "tanh"),)),
        Family("quick GELU", "QuickGelu", (_HIDDEN,), (), (), MICROSOFT),
        Family("sum", "Add", (_IMAGE, _IMAGE)),
        Family("gate", "Mul", ((1, 144, 28, 28), (1, 144, 1, 1))),
        Family("transpose", "Transpose", ((1, 197, 12, 64),), (), (("perm", [0, 2, 1, 3]),)),
        Family("transpose to NHWC", "Transpose", (_IMAGE,), (), (("perm", [0, 2, 3, 1]),)),
        Family("LSTM", "LSTM", ((32, 1, 64),), ((1, 256, 64), (1, 256, 64)), (("hidden_size", 64),)),
        Family("GRU", "GRU", ((32, 1, 64),), ((1, 192, 64), (1, 192, 64)), (("hidden_size", 64),)),
    )
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.families", description=__doc__)
    parser.add_argument(
        "--families", nargs="+", default=[*FAMILIES], metavar="NAME", help=f"some of: {'; '.join(FAMILIES)}"
    )
    parser.add_argument(
        "--target", default="llvm -mcpu=native -num-cores=1", help="tvmq's target (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=20, help="turns of each engine (default: 20)")
    parser.add_argument(
        "--least",
        type=float,
        default=0.2,
        help="end with an error if anything has less than this share of onnxruntime's speed (default: 0.2)",
    )
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.md")
    return parser


def _timers(family: Family, target: str) -> dict[str, Callable[[], Any]]:
    """Return what runs the model once in each engine."""
    import onnxruntime

    import tvmq

    model, sample = family.model(), family.sample()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    quantized = tvmq.quantize(model, "int8", target, [sample, family.sample(1)])
    return {
        "onnxruntime": partial(session.run, None, sample),
        "float": partial(tvmq.compile(model, target).run, sample),
        "int8": partial(tvmq.compile(quantized, target).run, sample),
    }


def measure(family: Family, target: str, rounds: int) -> dict[str, float]:
    """Return the least microseconds of each engine, all in turn."""
    timers = _timers(family, target)
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, run in timers.items():
            start = time.perf_counter()
            run()
            found[name].append((time.perf_counter() - start) * 1e6)
    return {name: min(times) for name, times in found.items()}


def table_of(found: dict[str, dict[str, float]]) -> Table:
    """Return microseconds, and how many times faster than onnxruntime, the slowest first."""
    rows = sorted(
        found.items(), key=lambda item: item[1]["onnxruntime"] / max(item[1]["float"], item[1]["int8"])
    )
    return Table(
        ("operator", *(f"{name} us" for name in FIELDS), "float x", "int8 x"),
        [
            (
                name,
                *(f"{times[engine]:.1f}" for engine in FIELDS),
                *(f"{times['onnxruntime'] / times[engine]:.2f}" for engine in FIELDS[1:]),
            )
            for name, times in rows
        ],
    )


def _act(arguments: argparse.Namespace, console: Console) -> None:
    check_positive(arguments, "rounds")
    check_output(arguments.output)
    for name in arguments.families:
        if name not in FAMILIES:
            raise unknown("family", name, FAMILIES)
    versions = machine.versions(("onnxruntime",))
    before = machine.describe()
    found: dict[str, dict[str, float]] = {}
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(arguments.families, description="operators"):
            found[name] = measure(FAMILIES[name], arguments.target, arguments.rounds)
    about = list(facts(before, {"target": arguments.target, "rounds": arguments.rounds}, versions))
    show_table(table_of(found), about, console, arguments.output)
    slow = [
        name
        for name, times in found.items()
        if max(times["float"], times["int8"]) * arguments.least > times["onnxruntime"]
    ]
    if slow:
        raise TvmqError(f"less than {arguments.least:g} of onnxruntime's speed: {', '.join(slow)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
