"""Means and variances of a float model's values by channel, from its weights alone.

    y = W x + b     E[y] = W E[x] + b            Var[y] = (sum of W over each kernel)^2 Var[x]
    y = relu(x)     E[y] = v N + m (1 - F)       x ~ N(m, v^2);  N density and F share below 0, at -m / v

Each channel is taken for a normal distribution that is independent of the others, and an activation for what it makes
of that: the clipped normal distribution of Nagel et al., 2019, appendix C. What one position of a kernel reads is taken
to be what its neighbours do, as in smooth images: were they independent, variances would vanish from layer to layer.
The model's inputs are taken to be normalized, mean 0 and variance 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import bindings_of, extents_of, is_constant, op_name, to_numpy
from ..hub.limits import limits_of
from ..prepare.affine import CHANNEL_AXIS, as_affine, per_channel, response_to_constant

NODES = 33
"""Points of the quadrature for functions of a normal distribution; exact for polynomials of degree 65."""


@dataclass(frozen=True)
class Moments:
    """Mean and variance of a value along ``axis``, float64 ``[C]``."""

    mean: np.ndarray
    variance: np.ndarray
    axis: int


def moments_of(mod: IRModule) -> dict[relax.Var, Moments]:
    """Return the moments of the values of a float module; what follows an unknown operator has none."""
    inputs_of_channels = [param for param in mod["main"].params if _has_channels(param)]
    found = {param: _normalized(param) for param in inputs_of_channels}
    for binding in bindings_of(mod):
        rule = RULES.get(op_name(binding.value))
        if rule is None:
            continue
        inputs = [found.get(item) for item in binding.value.args if isinstance(item, relax.Var)]
        moments = None if None in inputs or not inputs else rule(binding.value, *inputs)
        if moments is not None:
            found[binding.var] = moments
    return found


def clipped_normal(moments: Moments, lower: float, upper: float) -> Moments:
    """Return the moments of a normal distribution that is clipped to ``[lower, upper]``; both may be infinite."""
    deviation = np.sqrt(moments.variance)
    varies = deviation > 0.0
    safe = np.where(varies, deviation, 1.0)
    first = second = np.zeros_like(safe)
    low, high = (np.clip((limit - moments.mean) / safe, -40.0, 40.0) for limit in (lower, upper))
    inside = _below(high) - _below(low)
    slope = _density(low) - _density(high)
    # Of the standard normal distribution between the limits: 1, z and z^2.
    curve = inside + low * _density(low) - high * _density(high)
    first = moments.mean * inside + safe * slope
    second = moments.mean**2 * inside + 2.0 * moments.mean * safe * slope + safe**2 * curve
    for limit, share in ((lower, _below(low)), (upper, 1.0 - _below(high))):
        if math.isfinite(limit):
            first, second = first + limit * share, second + limit**2 * share
    mean = np.where(varies, first, np.clip(moments.mean, lower, upper))
    variance = np.where(varies, np.maximum(second - first**2, 0.0), 0.0)
    return Moments(mean, variance, moments.axis)


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)


def _below(z: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in z.reshape(-1)]).reshape(z.shape)


def _has_channels(param: relax.Var) -> bool:
    shape = extents_of(param)
    return len(shape) > 1 and isinstance(shape[_channel_axis(shape)], int)


def _channel_axis(shape: Sequence[int | str]) -> int:
    return 1 if len(shape) == 4 else -1


def _normalized(param: relax.Var) -> Moments:
    axis = _channel_axis(extents_of(param))
    channels = int(extents_of(param)[axis])
    return Moments(np.zeros(channels), np.ones(channels), axis)


def _weighted(call: relax.Call, data: Moments) -> Moments | None:
    axis = CHANNEL_AXIS[op_name(call)]
    if not is_constant(call.args[1]) or data.axis != axis:
        return None
    weight = to_numpy(call.args[1]).astype(np.float64)
    mean = response_to_constant(call, weight, data.mean)
    by_kernel = weight.sum(axis=tuple(range(2, weight.ndim)), keepdims=True)
    return Moments(mean, response_to_constant(call, np.square(by_kernel), data.variance), axis)


def _sum(call: relax.Call, first: Moments, second: Moments | None = None) -> Moments | None:
    if second is not None:
        if first.mean.shape != second.mean.shape or first.axis != second.axis:
            return None
        return Moments(first.mean + second.mean, first.variance + second.variance, first.axis)
    affine = as_affine(call)
    if affine is None:
        return None
    shape = extents_of(call)
    scale, shift = (per_channel(value, shape, first.axis) for value in (affine.scale, affine.shift))
    if scale is None or shift is None:
        return None
    return Moments(first.mean * scale + shift, first.variance * scale**2, first.axis)


def _limits(call: relax.Call, data: Moments) -> Moments:
    return clipped_normal(data, *limits_of(call))


def _leaky(call: relax.Call, data: Moments) -> Moments:
    slope = float(call.attrs.alpha)
    return _function(data, lambda x: np.where(x > 0.0, x, slope * x))


def _silu(call: relax.Call, data: Moments) -> Moments:
    return _function(data, lambda x: x / (1.0 + np.exp(-x)))


def _sigmoid(call: relax.Call, data: Moments) -> Moments:
    return _function(data, lambda x: 1.0 / (1.0 + np.exp(-x)))


def _function(data: Moments, function: Callable[[np.ndarray], np.ndarray]) -> Moments:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    values = function(data.mean[:, None] + np.sqrt(data.variance)[:, None] * nodes)
    mean = values @ weights
    return Moments(mean, np.maximum(np.square(values) @ weights - mean**2, 0.0), data.axis)


def _mean(call: relax.Call, data: Moments) -> Moments | None:
    """Average over independent elements: the mean stays, the variance is divided by their number."""
    before, behind = extents_of(call.args[0]), extents_of(call)
    if (
        len(behind) != len(before)
        or data.axis != 1
        or before[1] != behind[1]
        or _is_open(before[2:], behind[2:])
    ):
        return None
    count = _product(before[2:]) / _product(behind[2:])
    return Moments(data.mean, data.variance / count, data.axis)


def _product(shape: Sequence[int | str]) -> int:
    return math.prod(map(int, shape))


def _is_open(*shapes: Sequence[int | str]) -> bool:
    return any(isinstance(extent, str) for shape in shapes for extent in shape)


def _average(call: relax.Call, data: Moments) -> Moments:
    return Moments(
        data.mean, data.variance / math.prod(int(extent) for extent in call.attrs.pool_size), data.axis
    )


def _reshape(call: relax.Call, data: Moments) -> Moments | None:
    """Keep the channels where they alone have an extent: ``(1, C, 1, 1)`` to ``(1, C)``."""
    before, behind = extents_of(call.args[0]), extents_of(call)
    count = data.mean.size
    if _is_open(before[1:]) or _product(before[1:]) != count or behind != (before[0], count):
        return None
    return Moments(data.mean, data.variance, -1)


RULES: Mapping[str, Callable[..., Moments | None]] = {
    "relax.nn.conv2d": _weighted,
    "relax.matmul": _weighted,
    "relax.add": _sum,
    "relax.subtract": _sum,
    "relax.multiply": _sum,
    "relax.divide": _sum,
    "relax.nn.relu": _limits,
    "relax.clip": _limits,
    "relax.nn.leakyrelu": _leaky,
    "relax.nn.silu": _silu,
    "relax.sigmoid": _sigmoid,
    "relax.mean": _mean,
    "relax.nn.adaptive_avg_pool2d": _mean,
    "relax.nn.avg_pool2d": _average,
    "relax.reshape": _reshape,
    "relax.nn.batch_flatten": _reshape,
    "relax.flatten": _reshape,
}
