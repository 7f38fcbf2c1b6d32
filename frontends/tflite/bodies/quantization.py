"""From floats to integers and back, and from integers to those of another scale."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from ...onnx.contrib.body import Write
from ..body import OperatorBody
from . import exact, tables


def quantize(body: OperatorBody, data: str, **_) -> str:
    if body.results[0].quantization is None:
        raise ValueError("its result has no scale")
    if body.exact:
        if body.stored[data].quantization is not None:
            return tables.of_table(body, data, tables.requantized)
        return exact.quantized(body, data)
    return body.result(body.real(data))


def dequantize(body: OperatorBody, data: str, **_) -> str:
    value = body.real(data)
    return value if body.stored[data].quantization is not None else body("Cast", value, to=TensorProto.FLOAT)


def fake_quant(
    body: OperatorBody,
    data: str,
    *,
    min: float = 0.0,
    max: float = 0.0,
    num_bits: int = 8,
    narrow_range: int = 0,
    **_,
) -> str:
    low, high = int(narrow_range), 2**num_bits - 1
    if not min < max or not 2 <= num_bits <= 8:
        raise ValueError(f"it quantizes {min:g} to {max:g} to {num_bits} bits, which is not supported")
    scale = (max - min) / (high - low)
    zero_point = int(np.clip(np.rint(low - min / scale), low, high))
    value = body.limited(body.real(data), (low - zero_point) * scale, (high - zero_point) * scale)
    parameters = body.constant(scale, "float32"), body.constant(zero_point, "uint8")
    return body("DequantizeLinear", body("QuantizeLinear", value, *parameters), *parameters)


QUANTIZATION: dict[str, Write] = {"DEQUANTIZE": dequantize, "FAKE_QUANT": fake_quant, "QUANTIZE": quantize}
