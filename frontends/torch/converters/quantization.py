"""The Q/DQ forms of PT2E and torchao, as pairs of the hub.

    q = clamp(round(x / scale) + zero_point, quant_min, quant_max)          x = (q - zero_point) * scale

A range that is narrower than the dtype, such as 0..127 in uint8, is a clip in front of the ``quantize``. Weights that
are quantized in the graph have become integers before, by torch itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from tvm import relax

from ....passes.hub.arithmetic import bounds_of
from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ...onnx.converters.quantization import quantized
from ..scope import Scope
from ..tensors import dtype_name

STORED = ("int8", "uint8", "int16", "uint16", "int32")
"""Dtypes that values are quantized to."""

Parameter: TypeAlias = relax.Expr | float


def quantize_per_tensor(
    s: Scope,
    x: relax.Expr,
    scale: Parameter,
    zero_point: Parameter,
    low: int,
    high: int,
    dtype: torch.dtype,
    *rest,
) -> relax.Expr:
    return _quantized(s, x, scale, zero_point, -1, low, high, dtype_name(dtype))


def quantize_per_channel(
    s: Scope, x: relax.Expr, scales: relax.Expr, zero_points: relax.Expr, axis: int, low: int, high: int,
    dtype: torch.dtype,
) -> relax.Expr:  # fmt: skip
    return _quantized(s, x, scales, zero_points, axis, low, high, dtype_name(dtype))


def dequantize_per_tensor(
    s: Scope, q: relax.Expr, scale: Parameter, zero_point: Parameter, *rest
) -> relax.Expr:
    return _dequantized(s, q, scale, zero_point, -1)


def dequantize_per_channel(
    s: Scope, q: relax.Expr, scales: relax.Expr, zero_points: relax.Expr | None, axis: int, *rest
) -> relax.Expr:
    return _dequantized(s, q, scales, 0 if zero_points is None else zero_points, axis)


def quantize_affine(
    s: Scope, x: relax.Expr, block: Sequence[int], scale: relax.Expr, zero_point: relax.Expr | None,
    dtype: torch.dtype, low: float | None = None, high: float | None = None, *domain,
) -> relax.Expr:  # fmt: skip
    """torchao's, of whole tensors and of channels."""
    _refuse_domain(domain)
    axis, stored = _axis_of_blocks(block, shape_of(x)), dtype_name(dtype)
    limits = np.iinfo(stored)
    low, high = (limits.min if low is None else int(low)), (limits.max if high is None else int(high))
    return _quantized(s, x, *_flat(s, scale, zero_point), axis, low, high, stored)


def dequantize_affine(
    s: Scope, q: relax.Expr, block: Sequence[int], scale: relax.Expr, zero_point: relax.Expr | None, *rest
) -> relax.Expr:
    """torchao's, of whole tensors and of channels."""
    _refuse_domain(rest)
    return _dequantized(s, q, *_flat(s, scale, zero_point), _axis_of_blocks(block, shape_of(q)))


def _refuse_domain(arguments: Sequence) -> None:
    """Raise ``ValueError`` for float zero points, which an argument of some of torchao's releases asks for."""
    for domain in arguments:
        if isinstance(domain, str) and domain.upper() not in ("INT", "NONE"):
            raise ValueError(f"zero points of the domain {domain} are not supported; expected integers")


def _flat(s: Scope, scale: relax.Expr, zero_point: relax.Expr | None) -> tuple[relax.Expr, Parameter]:
    return _line(s, scale), 0 if zero_point is None else _line(s, zero_point)


def _line(s: Scope, value: relax.Expr) -> relax.Expr:
    if is_constant(value):
        return constant(to_numpy(value).reshape(-1))
    return s.reshape(value, (int(np.prod(shape_of(value))),))


def _axis_of_blocks(block: Sequence[int], shape: Sequence[int]) -> int:
    """Return the axis each place of which is a block; -1 where there is one block."""
    split = [
        at for at, (size, extent) in enumerate(zip(block, shape, strict=True)) if size not in (extent, -1)
    ]
    if not split:
        return -1
    if len(split) > 1 or block[split[0]] != 1:
        raise ValueError(
            f"blocks of {list(block)} in {list(shape)} have several scales a channel; expected one, or one a tensor"
        )
    return split[0]


def _quantized(
    s: Scope,
    x: relax.Expr,
    scale: Parameter,
    zero_point: Parameter,
    axis: int,
    low: int,
    high: int,
    dtype: str,
) -> relax.Expr:
    if dtype not in STORED:
        raise ValueError(f"values cannot be quantized to {dtype}; valid: {', '.join(STORED)}")
    step, zero = _parameters(s, scale, zero_point, dtype)
    x = s.cast(x, "float32")
    least, most = bounds_of(dtype)
    limits = None if (low, high) == (least, most) else (max(low, least), min(high, most))
    return quantized(s.builder, x, step, zero, axis, dtype, limits)


def _dequantized(s: Scope, q: relax.Expr, scale: Parameter, zero_point: Parameter, axis: int) -> relax.Expr:
    step, zero = _parameters(s, scale, zero_point, dtype_of(q))
    return relax.op.dequantize(q, step, zero, axis=axis, out_dtype="float32")


def _parameters(
    s: Scope, scale: Parameter, zero_point: Parameter, dtype: str
) -> tuple[relax.Expr, relax.Expr]:
    """Return scale and zero point as the hub has them: float32 and the stored dtype, scalars where they are one.

    Raises
    ------
    ValueError : a zero point that the dtype does not have.
    """
    parameters = [s.number(each, kind) if not isinstance(each, relax.Expr) else each
                  for each, kind in ((scale, "float32"), (zero_point, "int64"))]  # fmt: skip
    found = []
    for each, wanted in zip(parameters, ("float32", dtype), strict=True):
        if is_constant(each):
            values = to_numpy(each)
            if wanted == dtype and np.any(values.astype(np.int64) != values.astype(wanted).astype(np.int64)):
                raise ValueError(f"a zero point of {values.ravel()[0]} is none of {dtype}")
            values = values.astype(wanted)
            found.append(constant(values.reshape(()) if values.size == 1 else values))
        else:
            one = int(np.prod(shape_of(each))) == 1
            found.append(s.cast(s.reshape(each, ()) if one else each, wanted))
    step, zero = found
    if shape_of(step) != shape_of(zero) and is_constant(zero):  # a zero point for all channels
        zero = constant(np.broadcast_to(to_numpy(zero), shape_of(step)).copy())
    return step, zero
