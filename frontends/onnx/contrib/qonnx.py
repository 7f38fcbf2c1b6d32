"""QONNX's operators (Brevitas, FINN, hls4ml): quantization to any number of bits, in float32.

    Quant(x, scale, zero_point, bits)  -->  (clip(round(x / scale + zero_point)) - zero_point) * scale

Up to 8 bits that is a pair of Q and DQ, behind a clip where the range is smaller than that of the dtype, so the passes
take it for what it is; halves between two integers go to the other one where the zero point is odd. Definitions: https://github.com/fastmachinelearning/qonnx/tree/main/docs/qonnx-custom-ops
"""

from __future__ import annotations

import numpy as np

from .body import Body

ROUNDINGS = {"ROUND": "Round", "HALF_EVEN": "Round", "FLOOR": "Floor", "CEIL": "Ceil"}
"""Rounding mode to the operator that does it; ``Round`` takes halves to the even neighbour."""

STORED_BITS = 8


def bipolar_quant(body: Body, x: str, scale: str) -> str:
    is_upper = body("GreaterOrEqual", x, body.number(0.0, x))
    return body("Where", is_upper, scale, body("Neg", scale))


def quant(
    body: Body, x: str, scale: str, zero_point: str, bits: str, *,
    signed: int = 1, narrow: int = 0, rounding_mode: bytes = b"ROUND",
) -> str:  # fmt: skip
    scales, zeros = (_constant(body, name) for name in (scale, zero_point))
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError(f"its scale is {scales.reshape(-1)[:4]}, and positive numbers were expected")
    count, rounding = _bits(body, bits), _rounding(rounding_mode)
    if count == 1 and signed:  # exporters write the two values of one bit so
        upper = body("GreaterOrEqual", _scaled(body, x, scale, zero_point), body.number(0.0, x))
        whole = body("Where", upper, body.number(1.0, x), body.number(-1.0, x))
        return _restored(body, whole, scale, zero_point)
    low, high = _limits(count, signed, narrow)
    axis = _axis(body.shapes[x], scales.shape, zeros.shape)
    if rounding == "Round" and count <= STORED_BITS and axis is not None and (zeros == np.rint(zeros)).all():
        return _pair(body, x, scales, zeros, axis, (low, high), "int8" if signed else "uint8")
    whole = body(rounding, _clipped(body, _scaled(body, x, scale, zero_point), low, high))
    return _restored(body, whole, scale, zero_point)


def trunc(
    body: Body, x: str, scale: str, zero_point: str, bits: str, *further: str,
    signed: int = 1, narrow: int = 0, rounding_mode: bytes = b"FLOOR",
) -> str:  # fmt: skip
    """Write ``Trunc``: of five inputs, the last the bits of the output; or of seven, with the output's scale."""
    if len(further) not in (1, 3):
        raise ValueError(f"it has {4 + len(further)} inputs; expected 5 or 7")
    whole = body("Round", _scaled(body, x, scale, zero_point))
    if len(further) == 1:
        dropped = 2.0 ** (_bits(body, bits) - _bits(body, further[0]))
        whole = body(_rounding(rounding_mode), body("Div", whole, body.number(dropped, x)))
        return _restored(body, whole, scale, zero_point)
    out_scale, _, out_bits = further
    steps = 2.0 ** np.rint(np.log2(_constant(body, out_scale) / _constant(body, scale)))
    low, high = _limits(_bits(body, out_bits), signed, narrow)
    steps_name = body.constant(steps, "float32")
    whole = body(_rounding(rounding_mode), _clipped(body, body("Div", whole, steps_name), low, high))
    return body("Mul", body("Sub", whole, body("Div", zero_point, steps_name)), out_scale)


def multi_threshold(
    body: Body, x: str, thresholds: str, *,
    out_dtype: bytes = b"", out_scale: float = 1.0, out_bias: float = 0.0, data_layout: bytes = b"NCHW",
) -> str:  # fmt: skip
    """Write ``MultiThreshold``: how many thresholds of its channel each number reaches."""
    rank, (channels, count) = len(body.shapes[x]), body.shapes[thresholds]
    axis = 1 if rank == 2 or (rank == 4 and data_layout == b"NCHW") else rank - 1
    if channels not in (1, body.shapes[x][axis]):
        raise ValueError(f"it has thresholds for {channels} channels, and data of {body.shapes[x][axis]}")
    along = [1] * (rank + 1)
    along[axis], along[-1] = channels, count
    reached = body(
        "GreaterOrEqual", body("Unsqueeze", x, body.constant([rank])), body.reshape(thresholds, *along)
    )
    total = body("ReduceSum", body("CastLike", reached, x), body.constant([rank]), keepdims=0)
    scaled = total if out_scale == 1.0 else body("Mul", total, body.number(out_scale, x))
    return scaled if out_bias == 0.0 else body("Add", scaled, body.number(out_bias, x))


def _pair(
    body: Body, x: str, scales: np.ndarray, zeros: np.ndarray, axis: int, limits: tuple[int, int], dtype: str
) -> str:
    """Return x behind Q and DQ, clipped where the limits are inside of the dtype's."""
    whole = np.iinfo(dtype)
    if limits != (whole.min, whole.max):
        scale, zero = np.broadcast_arrays(scales.astype(np.float64), zeros)
        ends = [((limit - zero) * scale).astype(np.float32) for limit in limits]
        if scale.size == 1:
            x = body("Clip", x, *(body.constant(end.reshape(()), "float32") for end in ends))
        else:
            x = body(
                "Min", body("Max", x, body.constant(ends[0], "float32")), body.constant(ends[1], "float32")
            )
    count = max(scales.size, zeros.size)
    shape = () if count == 1 else (count,)
    pair = [
        body.constant(np.broadcast_to(values.reshape(-1), (count,)).reshape(shape), kind)
        for values, kind in ((scales, "float32"), (zeros, dtype))
    ]
    return body("DequantizeLinear", body("QuantizeLinear", x, *pair, axis=axis), *pair, axis=axis)


def _axis(shape: tuple[int, ...], *parameters: tuple[int, ...]) -> int | None:
    """Return the axis along which scales or zero points differ, 0 where they don't; None where there are several."""
    axes = {
        len(shape) - len(own) + place for own in parameters for place, extent in enumerate(own) if extent > 1
    }
    return min(axes, default=0) if len(axes) <= 1 and min(axes, default=0) >= 0 else None


def _scaled(body: Body, x: str, scale: str, zero_point: str) -> str:
    return body("Add", body("Div", x, scale), zero_point)


def _restored(body: Body, whole: str, scale: str, zero_point: str) -> str:
    return body("Mul", body("Sub", whole, zero_point), scale)


def _clipped(body: Body, x: str, low: int, high: int) -> str:
    return body("Clip", x, body.constant(low, "float32"), body.constant(high, "float32"))


def _limits(bits: int, signed: int, narrow: int) -> tuple[int, int]:
    """Return the least and the greatest integer of so many bits; narrow ranges have one less."""
    if signed:
        return -(2 ** (bits - 1)) + bool(narrow), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - bool(narrow)


def _rounding(mode: bytes) -> str:
    name = mode.decode().upper()
    if name not in ROUNDINGS:
        raise ValueError(f"rounding_mode {name!r} is unknown; valid: {', '.join(ROUNDINGS)}")
    return ROUNDINGS[name]


def _bits(body: Body, name: str) -> int:
    values = _constant(body, name)
    if values.size != 1 or not 1 <= (count := float(values.reshape(()))) <= 24 or count != int(count):
        raise ValueError(f"its bit width is {values.reshape(-1)[:4]}; expected one whole number from 1 to 24")
    return int(count)


def _constant(body: Body, name: str) -> np.ndarray:
    value = body.inputs[name].value
    if value is None:
        raise ValueError("its scale, zero point and bit width must be constant")
    return value
