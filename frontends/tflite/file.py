"""What a TFLite file holds, read field by field and checked: nothing in it is trusted.

A file is a flatbuffer: tables that refer to each other by offsets. Each list that is read is first compared with what
a file of this size can hold, and all lists together with a multiple of it, so that neither a length nor lists that lie
on one another make the reading long. Schema: https://github.com/google-ai-edge/LiteRT, ``tflite/schema/schema.fbs``.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from ...errors import TvmqError
from ...passes.hub.layers import free_name
from ..regular_file import content_of
from . import IDENTIFIER

LARGEST_FILE = 2**35
"""Bytes: a flatbuffer ends at 2 GiB, and weights may lie behind it."""
MOST_AXES = 8
"""Of a tensor: TFLite's own kernels know no more."""
MOST_READ = 64
"""List elements that are read, for each byte of the file and at least as many as ``LEAST_READ``."""
LEAST_READ = 2**20

DTYPES: dict[int, str] = {
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.FLOAT16: "float16",
    tflite.TensorType.FLOAT64: "float64",
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.UINT16: "uint16",
    tflite.TensorType.UINT32: "uint32",
    tflite.TensorType.UINT64: "uint64",
    tflite.TensorType.BOOL: "bool",
    tflite.TensorType.INT4: "int4",
}
"""The dtypes that tensors can have here; integers of 4 bits lie in int8 once they are read."""

_MALFORMED = (
    struct.error,
    ValueError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    KeyError,
    UnicodeError,
)
"""What reading a flatbuffer raises where its offsets lead elsewhere."""


@dataclass(frozen=True)
class Quantization:
    """``(q - zero_point) * scale``, of the whole tensor or of each place on ``axis``."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """One tensor of the graph.

    Attributes
    ----------
    shape : its extents.
    signature : the same, -1 for those that may be others when the model runs.
    dtype : one of ``DTYPES``' names.
    value : of a constant, int8 for int4.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    value: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Operator:
    """One operator: its name as the schema has it, or a custom operator's own; tensors by place, -1 for none."""

    name: str
    is_custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """The graph of a file: its first, which is the one that runs."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: Path) -> Model:
    """Return the model in the file.

    Raises
    ------
    TvmqError : the file is missing or unreadable; it is no TFLite model, a truncated or a corrupt one; it holds what no
        model here can hold: sparse tensors, text, states.
    """
    data = content_of(path, "TFLite", LARGEST_FILE, "TFLite models beyond that are not read")
    if data[4:8] != IDENTIFIER:
        raise TvmqError(
            f"{str(path)!r} is no TFLite model: it does not start with the identifier {IDENTIFIER.decode()}"
        )
    try:
        return _Reader(data).model()
    except TvmqError as error:
        raise TvmqError(f"{str(path)!r} cannot be read: {error}") from error
    except _MALFORMED as error:
        raise TvmqError(f"{str(path)!r} is a truncated or corrupt TFLite model") from error


class _Reader:
    def __init__(self, data: bytes):
        self._data = data
        self._left = max(MOST_READ * len(data), LEAST_READ)

    def model(self) -> Model:
        file = tflite.Model.GetRootAs(self._data, 0)
        if not self._count(file.SubgraphsLength()):
            raise TvmqError("it has no graph")
        names = [
            self._operator_name(file.OperatorCodes(at)) for at in self._places(file.OperatorCodesLength())
        ]
        buffers = [file.Buffers(at) for at in self._places(file.BuffersLength())]
        graph = file.Subgraphs(0)
        tensors = tuple(
            self._tensor(graph.Tensors(at), at, buffers) for at in self._places(graph.TensorsLength())
        )
        operators = tuple(
            self._operator(graph.Operators(at), names, len(tensors))
            for at in self._places(graph.OperatorsLength())
        )
        inputs, outputs = (
            self._tensors_of(graph, which, len(tensors), optional=False) for which in ("Inputs", "Outputs")
        )
        return Model(tensors, operators, inputs, outputs)

    def _count(self, length: int) -> int:
        """Return the length of a list; raises ``TvmqError`` for one that the file cannot hold."""
        self._left -= length
        if length > len(self._data) or self._left < 0:
            raise TvmqError("it has a list that is longer than the file")
        return length

    def _places(self, length: int) -> range:
        return range(self._count(length))

    def _array(self, table: Any, name: str) -> np.ndarray:
        """Return a list of numbers; an empty one where the file has none."""
        self._count(getattr(table, f"{name}Length")())
        found = getattr(table, f"{name}AsNumpy")()
        return found if isinstance(found, np.ndarray) else np.zeros(0, np.int64)

    def _operator_name(self, code: Any) -> tuple[str, bool]:
        number = code.BuiltinCode()
        if number == tflite.BuiltinOperator.CUSTOM:
            return _text(code.CustomCode()), True
        return _BUILTIN.get(number, f"operator {number}"), False

    def _tensors_of(self, table: Any, which: str, count: int, optional: bool = True) -> tuple[int, ...]:
        places = tuple(int(place) for place in self._array(table, which))
        if any(not -int(optional) <= place < count for place in places):
            raise TvmqError(f"one of its lists of tensors has a place that none of the {count} tensors has")
        return places

    def _operator(self, operator: Any, names: list[tuple[str, bool]], count: int) -> Operator:
        name, is_custom = names[operator.OpcodeIndex()]
        inputs, outputs = (self._tensors_of(operator, which, count) for which in ("Inputs", "Outputs"))
        options = self._custom_options(operator) if is_custom else self._options(operator)
        return Operator(name, is_custom, inputs, outputs, options)

    def _options(self, operator: Any) -> dict[str, Any]:
        for kinds, kind, table in (
            (tflite.BuiltinOptions, operator.BuiltinOptionsType(), operator.BuiltinOptions()),
            (tflite.BuiltinOptions2, operator.BuiltinOptions2Type(), operator.BuiltinOptions2()),
        ):
            name = next(
                (name for name, value in vars(kinds).items() if value == kind and name != "NONE"), None
            )
            if name is None or table is None:
                continue
            options = getattr(tflite, name)()
            options.Init(table.Bytes, table.Pos)
            return self._fields(options)
        return {}

    def _fields(self, table: Any) -> dict[str, Any]:
        """Return the fields of a table of options by their names in the schema."""
        found: dict[str, Any] = {}
        for name, method in vars(type(table)).items():
            if (
                not callable(method)
                or method.__code__.co_argcount != 1
                or name.endswith(("Length", "IsNone"))
            ):
                continue
            key = _snake(name.removesuffix("AsNumpy"))
            if name.endswith("AsNumpy"):
                found[key] = self._array(table, name.removesuffix("AsNumpy")).tolist()
            elif not isinstance(value := method(table), bytes | type(None)):
                found[key] = value
        return found

    def _custom_options(self, operator: Any) -> dict[str, Any]:
        data = self._array(operator, "CustomOptions").astype(np.uint8).tobytes()
        if not data:
            return {}
        from flatbuffers import flexbuffers

        root = flexbuffers.GetRoot(data)
        if not root.IsMap:
            return {}
        self._count(len(root.AsMap))
        found = root.AsMap
        return {
            str(key.AsString): value.Value
            for key, value in zip(found.Keys, found.Values, strict=True)
            if value.IsInt or value.IsFloat or value.IsBool
        }

    def _tensor(self, tensor: Any, place: int, buffers: list[Any]) -> Tensor:
        name = _text(tensor.Name()) or f"tensor_{place}"
        shape = tuple(int(extent) for extent in self._array(tensor, "Shape"))
        signature = tuple(int(extent) for extent in self._array(tensor, "ShapeSignature")) or shape
        if len(shape) > MOST_AXES or len(signature) != len(shape) or any(extent < 0 for extent in shape):
            raise TvmqError(f"tensor {name!r} has the shape {list(shape)[:MOST_AXES]}, which is none")
        if tensor.Sparsity() is not None:
            raise TvmqError(f"tensor {name!r} is sparse, which is not supported")
        if tensor.IsVariable():
            raise TvmqError(
                f"tensor {name!r} is a state that is kept from run to run, which is not supported"
            )
        if tensor.Type() not in DTYPES:
            kind = next(
                (name for name, value in vars(tflite.TensorType).items() if value == tensor.Type()), "unknown"
            )
            raise TvmqError(
                f"tensor {name!r} holds {kind.lower()} values; valid: {', '.join(DTYPES.values())}"
            )
        dtype = DTYPES[tensor.Type()]
        data = self._data_of(buffers[tensor.Buffer()]) if tensor.Buffer() else None
        value = None if data is None else _values(data, dtype, shape, name)
        return Tensor(name, shape, signature, dtype, self._quantization(tensor, name, shape), value)

    def _data_of(self, buffer: Any) -> bytes | None:
        """Return a buffer's bytes, None where it has none: those of the file itself, or what lies behind its tables."""
        if buffer.Offset() > 1:  # 0 and 1 stand for no such data
            start, size = buffer.Offset(), buffer.Size()
            if start + size > len(self._data):
                raise TvmqError("a buffer lies outside of the file")
            return self._data[start : start + size]
        if buffer.DataIsNone():
            return None
        # A list on its own, since what is shared between tensors is read without being copied.
        if buffer.DataLength() > len(self._data):
            raise TvmqError("it has a list that is longer than the file")
        data = buffer.DataAsNumpy()
        return data.tobytes() if isinstance(data, np.ndarray) and data.size else None

    def _quantization(self, tensor: Any, name: str, shape: tuple[int, ...]) -> Quantization | None:
        given = tensor.Quantization()
        if given is None:
            return None
        if given.DetailsType():
            raise TvmqError(f"tensor {name!r} has a quantization of its own kind, which is not supported")
        scale = self._array(given, "Scale").astype(np.float32)
        zero_point = self._array(given, "ZeroPoint").astype(np.int64)
        if not scale.size:
            return None
        axis = given.QuantizedDimension() if scale.size > 1 else 0
        if zero_point.size not in (0, 1, scale.size) or (
            scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size)
        ):
            raise TvmqError(
                f"tensor {name!r} of the shape {list(shape)} has {scale.size} scales and {zero_point.size} zero points "
                f"on axis {axis}, which do not fit"
            )
        bad = scale[~(np.isfinite(scale) & (scale > 0))]
        if bad.size:
            raise TvmqError(f"tensor {name!r} has the scale {bad[0]:g}, and positive numbers were expected")
        if not zero_point.size:
            zero_point = np.zeros(1, np.int64)
        if np.abs(zero_point).max() > 2**31 - 1:
            raise TvmqError(f"tensor {name!r} has a zero point beyond int32")
        zeros = np.broadcast_to(zero_point, scale.shape)
        return Quantization(tuple(scale.tolist()), tuple(zeros.tolist()), axis)


_BUILTIN = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _snake(name: str) -> str:
    """Return the schema's name of a field: the methods' names are in camel case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _values(data: bytes, dtype: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return a constant's numbers; raises ``TvmqError`` where they are more or fewer than its shape says."""
    count = math.prod(shape)
    expected = (count + 1) // 2 if dtype == "int4" else count * np.dtype(dtype).itemsize
    if len(data) != expected:
        raise TvmqError(
            f"tensor {name!r} of the shape {list(shape)} has {len(data)} bytes, and {dtype} takes {expected}"
        )
    if dtype != "int4":
        return np.frombuffer(data, dtype).reshape(shape)
    packed = np.frombuffer(data, np.int8)
    both = np.stack([(packed << 4) >> 4, packed >> 4], axis=-1).reshape(-1)
    return both[:count].reshape(shape)


def unique_names(tensors: tuple[Tensor, ...]) -> list[str]:
    """Return a name for each tensor that no other has: some converters give several the same."""
    taken: set[str] = set()
    return [free_name(tensor.name, taken) for tensor in tensors]
