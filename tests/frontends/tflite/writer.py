"""TFLite files in the making: tensors and operators, written as the schema has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite

CODES = {name: number for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "float16": tflite.TensorType.FLOAT16,
    "int4": tflite.TensorType.INT4,
    "int8": tflite.TensorType.INT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "uint8": tflite.TensorType.UINT8,
    "bool": tflite.TensorType.BOOL,
}
OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "REDUCE_MAX": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}
"""Whose options are in which table."""


@dataclass
class Writer:
    """The graph of one file; each method returns a tensor's place."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    operators: list[tuple[str, list[int], list[int], dict[str, Any]]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str, scale: Any = None, zero_point: Any = 0, axis: int = 0,
        value: np.ndarray | None = None,
    ) -> int:  # fmt: skip
        scales = None if scale is None else np.atleast_1d(np.asarray(scale, np.float32))
        zeros = np.atleast_1d(np.asarray(zero_point, np.int64))
        self.tensors.append(
            {
                "name": name,
                "shape": shape,
                "dtype": dtype,
                "scale": scales,
                "zeros": zeros,
                "axis": axis,
                "value": value,
            }
        )
        return len(self.tensors) - 1

    def input(
        self, name: str, shape: Sequence[int], dtype: str = "float32", scale: Any = None, zero_point: int = 0
    ):
        self.inputs.append(self.tensor(name, shape, dtype, scale, zero_point))
        return self.inputs[-1]

    def constant(self, value: Any, dtype: str = "int32", **quantization) -> int:
        array = np.asarray(value)
        array = array if dtype == "int4" else array.astype(dtype)
        return self.tensor(f"c{len(self.tensors)}", array.shape, dtype, value=array, **quantization)

    def op(self, name: str, inputs: Sequence[int], *outputs: int, **options) -> int:
        self.operators.append((name, list(inputs), list(outputs), options))
        return outputs[0]

    def bytes(self, outputs: Sequence[int]) -> bytes:
        """Return the file, with the operators that the outputs need."""
        b = flatbuffers.Builder(1024)
        needed, used = set(outputs), []
        for operator in reversed(self.operators):
            if needed.intersection(operator[2]):
                needed.update(operator[1])
                used.insert(0, operator)
        codes = sorted({name for name, *_ in used})
        buffers = [_table(b, "Buffer")]
        tensors = []
        for tensor in self.tensors:
            place = 0
            if tensor["value"] is not None:
                place = len(buffers)
                buffers.append(_table(b, "Buffer", Data=_bytes_of(b, tensor)))
            tensors.append(_tensor(b, tensor, place))
        operators = [
            _table(
                b, "Operator", OpcodeIndex=codes.index(name), Inputs=_ints(b, inputs), Outputs=_ints(b, given),
                **_options(b, name, options),
            )
            for name, inputs, given, options in used
        ]  # fmt: skip
        graph = _table(
            b, "SubGraph", Tensors=_offsets(b, tensors), Inputs=_ints(b, self.inputs), Outputs=_ints(b, outputs),
            Operators=_offsets(b, operators),
        )  # fmt: skip
        named = [_code(b, name) for name in codes]
        model = _table(
            b, "Model", Version=3, OperatorCodes=_offsets(b, named), Subgraphs=_offsets(b, [graph]),
            Buffers=_offsets(b, buffers),
        )  # fmt: skip
        b.Finish(model, b"TFL3")
        return bytes(b.Output())

    def save(self, path: Path, outputs: Sequence[int]) -> Path:
        path.write_bytes(self.bytes(outputs))
        return path


def _code(b: flatbuffers.Builder, name: str) -> int:
    custom = {} if name in CODES else {"CustomCode": b.CreateString(name)}
    number = CODES.get(name, CODES["CUSTOM"])
    return _table(
        b, "OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number, Version=1, **custom
    )


def _tensor(b: flatbuffers.Builder, tensor: dict[str, Any], buffer: int) -> int:
    fields: dict[str, Any] = {}
    if tensor["scale"] is not None:
        fields["Quantization"] = _table(
            b, "QuantizationParameters", Scale=b.CreateNumpyVector(tensor["scale"]),
            ZeroPoint=b.CreateNumpyVector(tensor["zeros"]), QuantizedDimension=tensor["axis"],
        )  # fmt: skip
    if "signature" in tensor:
        fields["ShapeSignature"] = _ints(b, tensor["signature"])
    name, shape = b.CreateString(tensor["name"]), _ints(b, tensor["shape"])
    return _table(b, "Tensor", Shape=shape, Type=TYPES[tensor["dtype"]], Buffer=buffer, Name=name, **fields)


def _bytes_of(b: flatbuffers.Builder, tensor: dict[str, Any]) -> int:
    value = tensor["value"]
    if tensor["dtype"] == "int4":
        flat = np.append(value.reshape(-1), [0] * (value.size % 2)).astype(np.uint8) & 15
        value = flat[::2] | flat[1::2] << 4
    return b.CreateNumpyVector(np.frombuffer(value.tobytes(), np.uint8))


def _options(b: flatbuffers.Builder, name: str, options: dict[str, Any]) -> dict[str, Any]:
    if not options:
        return {}
    if name not in OPTIONS:
        return {"CustomOptions": b.CreateNumpyVector(np.frombuffer(options["custom"], np.uint8))}
    fields = {
        re.sub("(?:^|_)([a-z])", lambda found: found[1].upper(), key): value for key, value in options.items()
    }
    fields = {key: _ints(b, value) if isinstance(value, list) else value for key, value in fields.items()}
    kind = getattr(tflite.BuiltinOptions, OPTIONS[name])
    return {"BuiltinOptionsType": kind, "BuiltinOptions": _table(b, OPTIONS[name], **fields)}


def _table(b: flatbuffers.Builder, kind: str, **fields: Any) -> int:
    getattr(tflite, f"{kind}Start")(b)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(b, value)
    return getattr(tflite, f"{kind}End")(b)


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return b.CreateNumpyVector(np.asarray(values, np.int32).reshape(-1))


def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()
