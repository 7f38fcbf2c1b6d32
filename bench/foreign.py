"""``python -m tvmq.bench.foreign``: models that other tools quantized, compiled by tvmq, beside what their files mean.

What a file means is what onnxruntime computes without its optimizations: Q and DQ run in float there. Differences are
in steps of the scale that the output was last rounded by. Of QOperator files onnxruntime has kernels on integers alone,
whose products saturate without VNNI, so those files have weights of uint8 or of 7 bits.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from .. import api
from ..errors import TvmqError
from ..frontends.onnx.load import load_onnx
from ..passes.hub.graph import input_specs
from .command import check_positive, run_command
from .exported import Feed, Task, run_in_onnxruntime, run_in_tvmq, task_of
from .machine import cpu_name

NEEDED = 13
"""Version of the operators in which Q and DQ know axes; onnxruntime writes those for older ones and refuses them."""

Make = Callable[[onnx.ModelProto, list[Feed], Path], None]
"""Quantizes a float model, with samples, into the file."""

SAMPLES = 10
"""To calibrate on: the tools' own methods are none of ours to measure."""


def _static(float_model: onnx.ModelProto, samples: list[Feed], path: Path, **how: Any) -> None:
    """Quantize by onnxruntime; ``how`` has its arguments, enumerations by the names of their members."""
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> Feed | None:
            return next(self._rest, None)

    kinds = {"quant_format": ort.QuantFormat, "calibrate_method": ort.CalibrationMethod}
    kinds |= dict.fromkeys(("activation_type", "weight_type"), ort.QuantType)
    chosen = {name: kinds[name][value] if name in kinds else value for name, value in how.items()}
    ort.quantize_static(float_model, path, Reader(), **chosen)


def _dynamic(float_model: onnx.ModelProto, samples: list[Feed], path: Path, **how: Any) -> None:
    from onnxruntime import quantization as ort

    chosen = {**how, "weight_type": ort.QuantType[how["weight_type"]]}
    ort.quantize_dynamic(float_model, path, **chosen)


def _nncf(float_model: onnx.ModelProto, samples: list[Feed], path: Path, preset: str) -> None:
    import nncf

    made = nncf.quantize(
        float_model,
        nncf.Dataset([dict(sample) for sample in samples]),
        preset=nncf.QuantizationPreset[preset],
        subset_size=len(samples),
    )
    onnx.save(made, path)


def _neural_compressor(float_model: onnx.ModelProto, samples: list[Feed], path: Path, form: str) -> None:
    """Quantize by the ONNX part of Intel's Neural Compressor, a package of its own since version 3."""
    from onnx_neural_compressor import data_reader, quantization
    from onnx_neural_compressor.quantization import config

    class Reader(data_reader.CalibrationDataReader):
        def __init__(self) -> None:
            self.rewind()

        def rewind(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> Feed | None:
            return next(self._rest, None)

    source = path.with_name("float.onnx")
    onnx.save(float_model, source)
    how = config.StaticQuantConfig(
        calibration_data_reader=Reader(), quant_format=quantization.QuantFormat[form], reduce_range=True
    )
    quantization.quantize(str(source), str(path), how)


def _powers_of_two(float_model: onnx.ModelProto, samples: list[Feed], path: Path) -> None:
    """Quantize by onnxruntime, around zero, and round each scale up to a power of two, as fixed-point tools do."""
    how = {"activation_type": "QInt8", "weight_type": "QInt8", "extra_options": {"ActivationSymmetric": True}}
    _static(float_model, samples, path, quant_format="QDQ", **how)
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    pairs = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    rounded = {
        node.input[1]: np.exp2(np.ceil(np.log2(arrays[node.input[1]]))).astype(np.float32)
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }
    for node in model.graph.node:  # a bias has the scale of the sums
        operands = [pairs.get(name) for name in node.input[:3]]
        if node.op_type in ("Conv", "Gemm") and len(operands) == 3 and None not in operands:
            data, weight, bias = (each.input[1] for each in operands if each is not None)
            rounded[bias] = (rounded[data] * rounded[weight]).astype(np.float32)
    for node in pairs.values():
        stored, scale = node.input[:2]
        if stored in arrays:
            own = arrays[stored] * (arrays[scale] / rounded[scale]).reshape(
                _along(arrays[stored], node, arrays[scale])
            )
            limits = np.iinfo(arrays[stored].dtype)
            values = np.rint(own.astype(np.float64)).clip(limits.min, limits.max).astype(arrays[stored].dtype)
            tensors[stored].CopyFrom(numpy_helper.from_array(values, stored))
    for scale, values in rounded.items():
        tensors[scale].CopyFrom(numpy_helper.from_array(values, scale))
    onnx.save(model, path)


def _along(values: np.ndarray, node: onnx.NodeProto, scale: np.ndarray) -> list[int]:
    """Return the shape in which a scale meets the values."""
    if scale.size == 1:
        return [1] * values.ndim
    axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
    return [-1 if place == axis % values.ndim else 1 for place in range(values.ndim)]


QDQ = partial(_static, quant_format="QDQ")
QOPERATOR = partial(_static, quant_format="QOperator")
U8, S8 = {"activation_type": "QUInt8"}, {"activation_type": "QInt8"}

VARIANTS: dict[str, Make] = {
    "onnxruntime QDQ u8 s8": partial(QDQ, **U8, weight_type="QInt8"),
    "onnxruntime QDQ u8 s8, by channel": partial(QDQ, **U8, weight_type="QInt8", per_channel=True),
    "onnxruntime QDQ u8 u8": partial(QDQ, **U8, weight_type="QUInt8"),
    "onnxruntime QDQ s8 s8, by channel, symmetric, 7 bits": partial(
        QDQ, **S8, weight_type="QInt8", per_channel=True, reduce_range=True,
        extra_options={"ActivationSymmetric": True},
    ),
    "onnxruntime QDQ u8 s8, entropy": partial(QDQ, **U8, weight_type="QInt8", calibrate_method="Entropy"),
    "onnxruntime QDQ u8 s8, percentile": partial(QDQ, **U8, weight_type="QInt8", calibrate_method="Percentile"),
    "onnxruntime QDQ u8 s8, a pair for each reader": partial(
        QDQ, **U8, weight_type="QInt8",
        extra_options={"DedicatedQDQPair": True, "AddQDQPairToWeight": True, "QuantizeBias": False},
    ),
    "onnxruntime QDQ u16 s8": partial(
        QDQ, activation_type="QUInt16", weight_type="QInt8", extra_options={"UseQDQContribOps": True}
    ),
    "onnxruntime QOperator u8 u8": partial(QOPERATOR, **U8, weight_type="QUInt8"),
    "onnxruntime QOperator u8 s8, by channel, 7 bits": partial(
        QOPERATOR, **U8, weight_type="QInt8", per_channel=True, reduce_range=True
    ),
    "onnxruntime QOperator s8 s8, 7 bits": partial(QOPERATOR, **S8, weight_type="QInt8", reduce_range=True),
    "onnxruntime dynamic u8": partial(_dynamic, weight_type="QUInt8"),
    "onnxruntime dynamic s8, by channel, 7 bits": partial(
        _dynamic, weight_type="QInt8", per_channel=True, reduce_range=True
    ),
    "Neural Compressor QDQ, 7 bits": partial(_neural_compressor, form="QDQ"),
    "Neural Compressor QOperator, 7 bits": partial(_neural_compressor, form="QOperator"),
    "NNCF mixed": partial(_nncf, preset="MIXED"),
    "NNCF performance": partial(_nncf, preset="PERFORMANCE"),
    "scales of powers of two": _powers_of_two,
}  # fmt: skip


def differences(path: Path, task: Task, count: int) -> tuple[str, float, float, float]:
    """Return how many layers are on integers, and how far outputs are: at most, within a step, and of one class."""
    specs = input_specs(load_onnx(path, task.shapes))
    package = api.compile(str(path), input_shapes=task.shapes)
    run = run_in_tvmq(package)
    statuses = [layer["status"] for layer in package.metadata["layers"]]
    reference = run_in_onnxruntime(path, optimized=False)
    found, expected = [], []
    for sample in task.samples[:count]:
        feed = {name: np.asarray(array, specs[name][1]) for name, array in sample.items()}
        found.append(run(feed))
        expected.append(reference(feed))
    one, other = np.stack(found), np.stack(expected)
    steps = np.abs(one - other) / step_of(onnx.load(path), float(np.abs(other).max()))
    share = sum(status not in ("float", "folded") for status in statuses)
    integers = f"{share} of {len(statuses) - statuses.count('folded')}"
    return (
        integers,
        float(steps.max()),
        float((steps <= 1.001).mean()),
        float((one.argmax(1) == other.argmax(1)).mean()),
    )


def step_of(model: onnx.ModelProto, largest: float) -> float:
    """Return the scale by which the first output was last rounded; of 8 bits of the largest where there was none."""
    makers = {name: node for node in model.graph.node for name in node.output}
    scales = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if len(tensor.dims) < 2
    }
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in ("Flatten", "Identity", "Reshape", "Squeeze"):
        node = makers.get(node.input[0])
    if node is not None and node.op_type == "DequantizeLinear" and node.input[1] in scales:
        return float(scales[node.input[1]].max())
    return largest / 127


def rows(task: Task, count: int, only: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what each variant came to, or why there is none."""
    float_model = onnx.load(task.path)
    _fix_shapes(float_model, task.shapes)
    if min(entry.version for entry in float_model.opset_import if not entry.domain) < NEEDED:
        float_model = onnx.version_converter.convert_version(float_model, NEEDED)
    for name, make in VARIANTS.items():
        if only not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="tvmq-foreign-") as folder:
            path = Path(folder) / "model.onnx"
            copy = onnx.ModelProto()
            copy.CopyFrom(float_model)
            try:
                make(copy, task.calibration[:SAMPLES], path)
            except Exception as error:  # of the tool: whatever it raises
                yield name, [f"the tool failed: {type(error).__name__}: {str(error).splitlines()[0][:60]}"]
                continue
            try:
                integers, furthest, within, agree = differences(path, task, count)
            except TvmqError as error:
                yield name, [f"refused: {error}"]
                continue
            yield name, [integers, f"{furthest:.2f}", f"{within:.2%}", f"{agree:.1%}"]


def _fix_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for value in model.graph.input:
        for extent, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            extent.dim_value = size


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.foreign", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet20", "mnist", "kws", "minilm"], metavar="NAME")
    parser.add_argument("--samples", type=int, default=50, help="to compare on (default: %(default)s)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="the variants whose names have this in them"
    )

    def action(arguments: argparse.Namespace, console: Console) -> None:
        check_positive(arguments, "samples")
        logging.getLogger().setLevel(logging.ERROR)  # the tools' advice
        console.print(cpu_name())
        for name in arguments.models:
            table = Table(name, "on integers", "furthest, steps", "within one", "same class")
            for variant, cells in rows(task_of(name, arguments.samples), arguments.samples, arguments.only):
                table.add_row(variant, *cells)
            console.print(table)

    return run_command(parser, argv, action)


if __name__ == "__main__":
    raise SystemExit(main())
