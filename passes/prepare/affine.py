"""Operators that scale and shift each channel by constants, in the common form ``data * scale + shift``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from ..hub.graph import extents_of, is_constant, op_name, to_numpy

CHANNEL_AXIS = {"relax.nn.conv2d": 1, "relax.matmul": -1}
"""The axis of a weighted operator's result along which its weights have a filter each."""


@dataclass(frozen=True)
class Affine:
    """``data * scale + shift``.

    Attributes
    ----------
    data : the operand that is no constant.
    scale, shift : float64 arrays that broadcast to the shape of ``data`` without widening it.
    """

    data: relax.Expr
    scale: np.ndarray
    shift: np.ndarray


def as_affine(call: relax.Expr) -> Affine | None:
    """Return what a float addition, subtraction, multiplication or division with a constant does.

    None for other operators, and where the constant widens the shape.
    """
    name = op_name(call)
    if name not in ("relax.add", "relax.subtract", "relax.multiply", "relax.divide"):
        return None
    left, right = call.args
    if is_constant(left) == is_constant(right):
        return None
    data, operand = (right, left) if is_constant(left) else (left, right)
    value = to_numpy(operand)
    if value.dtype.kind != "f" or value.ndim > len(extents_of(data)) or extents_of(call) != extents_of(data):
        return None
    value = value.astype(np.float64)
    one, zero = np.ones(()), np.zeros(())
    if name == "relax.add":
        return Affine(data, one, value)
    if name == "relax.subtract":
        return Affine(data, -one, value) if data is right else Affine(data, one, -value)
    if name == "relax.multiply":
        return Affine(data, value, zero)
    if data is right or not value.all():  # constant / x is not affine
        return None
    return Affine(data, 1.0 / value, zero)


def per_channel(value: np.ndarray, shape: Sequence[int | str], axis: int) -> np.ndarray | None:
    """Return the array as one value a channel, ``[shape[axis]]``; None where it varies along another axis.

    Other axes may be open, with text for their extents.
    """
    full = (1,) * (len(shape) - value.ndim) + value.shape
    axis %= len(shape)
    if any(extent != 1 for place, extent in enumerate(full) if place != axis):
        return None
    return np.broadcast_to(value.reshape(-1), (int(shape[axis]),))


def bias_constant(values: np.ndarray, rank: int, axis: int) -> relax.Expr:
    """Return the float32 constant that adds ``values`` ``[C]`` along ``axis``: (1, C, 1, 1), or (N,)."""
    behind = rank - 1 - axis % rank
    shape = (1, -1) + (1,) * behind if behind else (-1,)
    return relax.const(values.astype(np.float32).reshape(shape))


def spread_over_inputs(call: relax.Call, weight: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Return one value an input channel, ``[C]``, in a shape that multiplies a weighted operator's weights."""
    if op_name(call) == "relax.matmul":
        return channels[:, None]
    # Output channel o of OIHW reads the channels of its group: [G, I] repeated for the O / G of each.
    groups = call.attrs.groups
    by_output = np.repeat(channels.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return by_output[:, :, None, None]


def response_to_constant(call: relax.Call, weight: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Return a weighted operator's result, ``[O]``, where each input channel has one value and no padding."""
    products = weight * spread_over_inputs(call, weight, channels)
    return products.sum(axis=0) if op_name(call) == "relax.matmul" else products.sum(axis=(1, 2, 3))


def is_padded(call: relax.Call) -> bool:
    """Return whether a weighted operator meets zeros around its input, which no shift of a channel reaches."""
    return op_name(call) == "relax.nn.conv2d" and any(map(int, call.attrs.padding))


def is_depthwise(call: relax.Call) -> bool:
    """Return whether a weighted operator has weights for each input channel alone, with scales of their own."""
    return op_name(call) == "relax.nn.conv2d" and int(call.attrs.groups) == extents_of(call.args[0])[1] > 1
