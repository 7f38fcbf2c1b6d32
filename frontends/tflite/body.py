"""What a TFLite operator computes, in terms of ONNX's: nodes in the making, and what is known of its tensors.

    tflite.ADD(a, b) -> y     -->     y = QuantizeLinear(Add(DequantizeLinear(a, ..), DequantizeLinear(b, ..)), ..)

Tensors keep TFLite's layout, channels last; an operator of images has a transpose in front and one behind it, which
``Prepare`` brings together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from tflite import ActivationFunctionType

from ..onnx.contrib.body import Body, Input, attributes_of, written
from .file import Quantization

TENSORS = "tensors"
"""The attribute with dtypes and quantization of a node's inputs and results, and whether it is exact, in JSON."""

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True)
class Stored:
    """What the file says of a tensor."""

    dtype: str
    quantization: Quantization | None

    @classmethod
    def of(cls, record: dict[str, Any] | None) -> Stored:
        """Return what a record of the attribute ``TENSORS`` says; without one, of a tensor that is left out."""
        if record is None:
            return cls("", None)
        given = record["quantization"]
        if given is None:
            return cls(record["dtype"], None)
        scale, zero_point = tuple(given["scale"]), tuple(given["zero_point"])
        return cls(record["dtype"], Quantization(scale, zero_point, given["axis"]))


class OperatorBody(Body):
    """The nodes of one operator.

    Attributes
    ----------
    stored : what the file says of each input, by the name that it has here.
    results : the same of each result, in order.
    exact : the operator is to be computed as TFLite's reference kernel does.
    """

    def __init__(self, inputs: Mapping[str, Input], names: Sequence[str], tensors: str):
        super().__init__(inputs)
        given, results, self.exact = json.loads(tensors)
        self.stored = {name: Stored.of(record) for name, record in zip(names, given, strict=True) if name}
        self.results = [Stored.of(record) for record in results]

    def value(self, name: str) -> np.ndarray | None:
        """Return an input's numbers where it is constant; None elsewhere."""
        return self.inputs[name].value

    def known(self, name: str, what: str) -> np.ndarray:
        """Return an input's numbers; raise ``ValueError`` where only running the model tells them."""
        value = self.value(name)
        if value is None:
            raise ValueError(f"its {what} is no constant, which is not supported")
        return value

    def numbers(self, name: str, what: str) -> list[int]:
        """Return the integers of a constant input; raise ``ValueError`` where it is none."""
        return [int(number) for number in np.ravel(self.known(name, what))]

    def ends(self, name: str, what: str) -> tuple[list[int], list[int]]:
        """Return what a constant input has for both ends of each axis."""
        numbers = self.numbers(name, what)
        return numbers[::2], numbers[1::2]

    @property
    def has_quantized(self) -> bool:
        """Whether an input or a result is quantized."""
        return any(each.quantization is not None for each in (*self.stored.values(), *self.results))

    def is_exact(self, *names: str) -> bool:
        """Tell whether exact integers are asked for, and these inputs and the first result are quantized."""
        stored = [*(self.stored[name] for name in names), self.results[0]]
        return self.exact and all(each.quantization is not None for each in stored)

    def real(self, name: str) -> str:
        """Return what an input stands for, in float."""
        return self.dequantized(name, self.stored[name])

    def dequantized(self, name: str, stored: Stored) -> str:
        """Return what integers stand for; the value itself where they stand for nothing else."""
        quantization = stored.quantization
        if quantization is None:
            return name
        if stored.dtype == "int64":  # biases beside activations of 16 bits; ONNX has no such integers
            numbers = self.known(name, "bias of int64").astype(np.float64) * np.asarray(quantization.scale)
            return self.constant(numbers, "float32")
        return self("DequantizeLinear", name, *self._parameters(stored), axis=quantization.axis)

    def result(self, value: str, place: int = 0) -> str:
        """Return a float value as the operator's result is stored."""
        stored = self.results[place]
        if stored.quantization is None:
            return value
        return self("QuantizeLinear", value, *self._parameters(stored), axis=stored.quantization.axis)

    def _parameters(self, stored: Stored) -> list[str]:
        scale, zero_point = (
            np.asarray(each) for each in (stored.quantization.scale, stored.quantization.zero_point)
        )
        if scale.size == 1:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        dtype = "int8" if stored.dtype == "int4" else stored.dtype
        if zero_point.min() < np.iinfo(dtype).min or zero_point.max() > np.iinfo(dtype).max:
            raise ValueError(f"one of its tensors has a zero point that {dtype} does not hold")
        return [self.constant(scale, "float32"), self.constant(zero_point, dtype)]

    def permuted(self, name: str, axes: Sequence[int]) -> str:
        """Return what an input stands for, its axes in another order; the integers of a constant stay as they are."""
        value, stored = self.value(name), self.stored[name]
        if value is None:
            return self("Transpose", self.real(name), perm=list(axes))
        quantization = stored.quantization
        if quantization is not None:
            moved = list(axes).index(quantization.axis)
            stored = Stored(stored.dtype, Quantization(quantization.scale, quantization.zero_point, moved))
        turned = np.ascontiguousarray(value.transpose(axes))
        return self.dequantized(self.constant(turned, str(turned.dtype)), stored)

    def result_of_image(self, data: str, operator: Callable[[str], str]) -> str:
        """Return the operator's result, which is an image: ``operator`` computes it with channels first, in float."""
        first = self("Transpose", self.real(data), perm=list(CHANNELS_FIRST))
        # Quantized before it is turned, so that the quantization is next to what computes the values.
        return self("Transpose", self.result(operator(first)), perm=list(CHANNELS_LAST))

    def activated(self, value: str, function: int) -> str:
        """Return a value behind the activation that an operator's options name."""
        if function == ActivationFunctionType.NONE:
            return value
        if function == ActivationFunctionType.RELU:
            return self("Relu", value)
        if function in LIMITS:
            return self.limited(value, *LIMITS[function])
        if function == ActivationFunctionType.TANH:
            return self("Tanh", value)
        raise ValueError(f"its activation, number {function}, is not supported")

    def limited(self, value: str, low: float, high: float) -> str:
        """Return a float value limited to a range."""
        return self("Clip", value, self.constant(low, "float32"), self.constant(high, "float32"))


LIMITS = {ActivationFunctionType.RELU6: (0.0, 6.0), ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0)}


def has_tflite_body(op_type: str) -> bool:
    """Tell whether the operator is known; the table's files import this one."""
    from .bodies.table import BODIES

    return op_type in BODIES


def tflite_body(node: onnx.NodeProto, inputs: Mapping[str, Input]) -> list[onnx.NodeProto]:
    """Return nodes that compute what the node does, from its inputs to its outputs.

    Parameters
    ----------
    inputs : what is known of each, by name.

    Raises
    ------
    ValueError : inputs or options that the operator does not have, or that are not supported.
    """
    from .bodies.table import BODIES, EXACT

    attributes = attributes_of(node)
    body = OperatorBody(inputs, node.input, attributes.pop(TENSORS).decode())
    if body.exact and body.has_quantized and node.op_type not in EXACT:
        raise ValueError("its exact integers are not known here; without exactness it is computed in float")
    return written(body, BODIES[node.op_type], node, attributes)
