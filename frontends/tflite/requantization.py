"""The integers of products that compute as TFLite's reference kernels do: biases, multipliers and shifts.

    ratio[o] = scale of data * scale of weight[o] / scale of result

The products themselves are those of the default: the float operator between its Q and DQ, whose kernel takes these
integers in place of those that it would find itself (``passes.hub.fixed_point``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tflite import ActivationFunctionType

from ...errors import TvmqError
from ...passes.hub.fixed_point import FixedPoint, quantized_multiplier
from .file import Model, Operator, Quantization, Tensor

CHANNEL_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""The operators, and the axis of their weights that the results' channels are on."""


def fixed_points(model: Model, names: Sequence[str]) -> dict[str, FixedPoint]:
    """Return the integers of each product of quantized tensors, by the operator's name.

    Raises
    ------
    TvmqError : a product whose exact integers are not known.
    """
    return {
        name: _fixed_point(operator, model.tensors, name)
        for operator, name in zip(model.operators, names, strict=True)
        if operator.name in CHANNEL_AXES and _is_of_eight_bits(operator, model.tensors)
    }


def _is_of_eight_bits(operator: Operator, tensors: tuple[Tensor, ...]) -> bool:
    """Tell whether the data are quantized, and not of 16 bits, whose products are kernels of their own."""
    data = tensors[_operands(operator)[0]]
    return data.quantization is not None and data.dtype != "int16"


def _operands(operator: Operator) -> tuple[int, int, int]:
    """Return the places of data, weight and bias, -1 for none."""
    if operator.name == "TRANSPOSE_CONV":
        _, weight, data, bias = (*operator.inputs, -1)[:4]
    else:
        data, weight, bias = (*operator.inputs, -1)[:3]
    return data, weight, bias


def _fixed_point(operator: Operator, tensors: tuple[Tensor, ...], name: str) -> FixedPoint:
    data, weight, bias = (tensors[place] if place >= 0 else None for place in _operands(operator))
    result = tensors[operator.outputs[0]]
    why = _unknown(operator, data, weight, result, bias)
    if why:
        raise TvmqError(f"TFLite operator {name!r} ({operator.name}) has no exact integers here: {why}")
    channels = weight.shape[CHANNEL_AXES[operator.name]]
    in_float32 = (
        data.dtype == "uint8" or operator.name == "FULLY_CONNECTED" and len(weight.quantization.scale) == 1
    )
    ratios = ratios_of(data.quantization, weight.quantization, result.quantization, channels, in_float32)
    multipliers, shifts = zip(*map(quantized_multiplier, ratios), strict=True)
    biases = np.zeros(channels, np.int64) if bias is None else bias.value.reshape(-1)
    once = operator.name == "FULLY_CONNECTED"  # the one kernel that does
    return FixedPoint(tuple(biases.tolist()), multipliers, shifts, once)


def _unknown(operator: Operator, data: Tensor, weight: Tensor, result: Tensor, bias: Tensor | None) -> str:
    """Return why a product's exact integers are not known; an empty text where they are."""
    if weight.value is None or weight.quantization is None or (bias is not None and bias.value is None):
        return "its weight or bias is no constant of integers"
    if (
        result.quantization is None
        or len(result.quantization.scale) != 1
        or len(data.quantization.scale) != 1
    ):
        return "its result has no scale, or its data several"
    if data.dtype not in ("int8", "uint8") or result.dtype != data.dtype:
        return f"it makes {result.dtype} of {data.dtype}; int8 of int8 and uint8 of uint8 are known"
    if operator.options.get("fused_activation_function", 0) == ActivationFunctionType.TANH:
        return "its activation is a tanh"
    return ""


def ratios_of(
    data: Quantization, weight: Quantization, result: Quantization, channels: int, in_float32: bool
) -> list[float]:
    """Return the ratio of scales of each output channel; some kernels multiply the first two in float32."""
    scales = [np.array(each.scale, np.float32) for each in (data, weight, result)]
    if in_float32:
        products = (scales[0] * scales[1]).astype(np.float64)
    else:
        products = scales[0].astype(np.float64) * scales[1].astype(np.float64)
    return np.broadcast_to(products / scales[2].astype(np.float64), channels).tolist()
