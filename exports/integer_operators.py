"""Operators on integers as onnxruntime's CPU has them: which one a float operator between DQ and Q becomes.

    Add(DQ(a, sa, za), DQ(b, sb, zb)), Q(., sy, zy)  -->  QLinearAdd(a, sa, za, b, sb, zb, sy, zy)

A writer says what the operator is to be, or None where the runtime has no kernel for these operands; ``OPERATORS`` has
them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import helper

MOVES = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "MaxPool",
        "Reshape",
        "Slice",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that only move or select values of their first input: they do so with integers too."""


@dataclass(frozen=True)
class Operand:
    """A tensor of integers.

    Attributes
    ----------
    name, scale, zero : of the tensors; ``zero`` is ``""`` where there is none.
    scales, zeros : the values of scale and zero point.
    axis : along which they differ, if they do.
    """

    name: str
    scale: str
    zero: str
    scales: np.ndarray
    zeros: np.ndarray
    axis: int

    @property
    def inputs(self) -> list[str]:
        return [self.name, self.scale, self.zero]

    @property
    def dtype(self) -> str:
        return str(self.zeros.dtype.name)

    @property
    def is_scalar(self) -> bool:
        return self.scales.size == 1


@dataclass(frozen=True)
class Request:
    """A float operator whose inputs are all quantized, and whose result is rounded.

    Attributes
    ----------
    array : the value of a constant by its name, None of what is none.
    weights : the inputs of weights beside data of a dtype, by the weights and that dtype.
    """

    node: onnx.NodeProto
    operands: Sequence[Operand]
    result: Operand
    array: Callable[[str], np.ndarray | None]
    weights: Callable[[Operand, str], list[str]]

    def attributes(self) -> dict[str, Any]:
        return {entry.name: helper.get_attribute_value(entry) for entry in self.node.attribute}

    @property
    def is_of_one_dtype(self) -> bool:
        """Whether all operands and the result have one dtype, and each one scale."""
        return all(
            operand.is_scalar and operand.dtype == self.result.dtype
            for operand in (*self.operands, self.result)
        )


@dataclass(frozen=True)
class Found:
    """An operator on integers.

    Attributes
    ----------
    is_flattened : its result loses the axes behind the second, which have one element.
    """

    op_type: str
    inputs: list[str]
    is_microsofts: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)
    is_flattened: bool = False


def _conv(request: Request) -> Found | None:
    data, weight, *bias = request.operands
    if not _is_product(request, data, weight, axis=0) or not _is_bias(bias, data, weight):
        return None
    inputs = [
        *data.inputs,
        *request.weights(weight, data.dtype),
        request.result.scale,
        request.result.zero,
        *(each.name for each in bias),
    ]
    return Found("QLinearConv", inputs, False, request.attributes())


def _matmul(request: Request) -> Found | None:
    data, weight = request.operands
    if not _is_product(request, data, weight, axis=1):
        return None
    return Found(
        "QLinearMatMul",
        [*data.inputs, *request.weights(weight, data.dtype), request.result.scale, request.result.zero],
        False,
    )


def _gemm(request: Request) -> Found | None:
    data, weight, *bias = request.operands
    if not _is_product(request, data, weight, axis=1) or not _is_bias(bias, data, weight):
        return None
    added = bias[0].name if bias else ""
    inputs = [
        *data.inputs,
        *request.weights(weight, data.dtype),
        added,
        request.result.scale,
        request.result.zero,
    ]
    return Found("QGemm", inputs, True, {"alpha": 1.0, "transA": 0, "transB": 0})


def unrounded(request: Request) -> Found | None:
    """Return a product of a matrix of weights whose result stays float: nothing rounds it behind.

    Parameters
    ----------
    request : its ``result`` is the data.
    """
    stored = request.array(request.operands[1].name) if len(request.operands) > 1 else None
    if request.node.op_type not in ("Gemm", "MatMul") or stored is None or stored.ndim != 2:
        return None
    found = _gemm(request)
    return None if found is None else replace(found, inputs=found.inputs[:-2])


def _is_product(request: Request, data: Operand, weight: Operand, axis: int) -> bool:
    """Tell whether there is a kernel for these dtypes, and scales of weights along this axis alone."""
    if not data.is_scalar or data.dtype != request.result.dtype or data.dtype not in ("int8", "uint8"):
        return False
    if data.dtype == "int8" and weight.dtype == "uint8":
        return False
    if weight.is_scalar:
        return True
    stored = request.array(weight.name)
    is_matrix = stored is not None and (stored.ndim == 2 or request.node.op_type == "Conv")
    return is_matrix and weight.axis == axis and bool((weight.zeros == weight.zeros.reshape(-1)[0]).all())


def _is_bias(bias: Sequence[Operand], data: Operand, weight: Operand) -> bool:
    """Tell whether a bias has the scale of the sums, as the operators on integers take it."""
    sums = (data.scales.reshape(()) * weight.scales).astype(np.float32)
    return all(
        each.dtype == "int32" and np.array_equal(each.scales.reshape(-1), sums.reshape(-1)) for each in bias
    )


def _binary(op_type: str, request: Request) -> Found | None:
    if not request.is_of_one_dtype:
        return None
    a, b = request.operands
    return Found(op_type, [*a.inputs, *b.inputs, request.result.scale, request.result.zero])


def _unary(op_type: str, request: Request, **more: Any) -> Found | None:
    """Return an operator of one input with the attributes of the float one."""
    if not request.is_of_one_dtype or len(request.operands) != 1:
        return None
    inputs = [*request.operands[0].inputs, request.result.scale, request.result.zero]
    return Found(op_type, inputs, True, {**request.attributes(), **more})


def _average(request: Request) -> Found | None:
    attributes = request.attributes()
    if len(attributes["kernel_shape"]) != 2 or any(step != 1 for step in attributes.get("dilations", ())):
        return None
    return _unary("QLinearAveragePool", request)


def _mean(request: Request) -> Found | None:
    """Return the mean of all of each channel's places, for which alone there is a kernel."""
    axes = request.array(request.node.input[1]) if len(request.node.input) > 1 else None
    keeps = request.attributes().get("keepdims", 1)
    if axes is None or axes.tolist() != [2, 3] or not request.is_of_one_dtype:
        return None
    inputs = [*request.operands[0].inputs, request.result.scale, request.result.zero]
    return Found("QLinearGlobalAveragePool", inputs, True, {"channels_last": 0}, is_flattened=not keeps)


def _concat(request: Request) -> Found | None:
    if not request.is_of_one_dtype:
        return None
    parts = [name for operand in request.operands for name in operand.inputs]
    inputs = [request.result.scale, request.result.zero, *parts]
    return Found("QLinearConcat", inputs, True, request.attributes())


OPERATORS: dict[str, Callable[[Request], Found | None]] = {
    "Add": partial(_binary, "QLinearAdd"),
    "AveragePool": _average,
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": partial(_unary, "QLinearGlobalAveragePool", channels_last=0),
    "LeakyRelu": partial(_unary, "QLinearLeakyRelu"),
    "MatMul": _matmul,
    "Mul": partial(_binary, "QLinearMul"),
    "ReduceMean": _mean,
    "Sigmoid": partial(_unary, "QLinearSigmoid"),
    "Softmax": partial(_unary, "QLinearSoftmax", opset=13),
}
"""Float operator to what writes the one on integers."""

DATA_INPUTS: dict[str, int] = {"ReduceMean": 1}
"""How many of an operator's inputs are data, of one that has others."""
