"""Quantizers that learn: the integers of weights, the steps of activations, and the shifts of biases.

    weights       w = s clip(rint(z), -L, L)           dz = s dw          (where z is within the limits)
    activations   y = s clip(rint(x / s), l, h)        dx = dy            (where x / s is within the limits)
                                                       ds = dy (rint(x / s) - x / s), and dy l or dy h beyond them
    drop          y = x for a random share of the values, as if they were not quantized

Rounding passes gradients on as if it were not there (the straight-through estimator, Bengio et al., 2013); the
gradient of a step is that of Esser et al., "Learned step size quantization", 2020. A float ``z`` for each integer
moves by gradients until it is nearer to another one (Cheng et al., "Optimize weight rounding via signed gradient
descent", 2024). Dropping is that of Wei et al., "QDrop", 2022.

Scales and steps are learned as logarithms and shifts in units of the result, so that one rate of learning suits all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from ...errors import TvmqError
from ..hub.graph import shape_of
from ..hub.pairs import ActivationPair, WeightPair
from ..hub.parameters import activation_limits, along
from .backward import Arrays, Rule
from .kernels import quantizer, sums_of

NEAR = np.float32(0.25)
"""Of a step: how far from its integer a weight begins at most, towards its float value."""

FEW = 100.0
"""Columns seen for each weight of a row, with which weights learn at half their rate."""

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-12


@dataclass(frozen=True)
class Rates:
    """Rates of learning, each for a first step of Adam.

    Attributes
    ----------
    places : of weights, in steps; see ``of_places``.
    weight_scales, steps : of the logarithms of scales of weights and of activations.
    shifts : of shifts, in standard deviations of the channel.
    """

    places: float = 0.01
    weight_scales: float = 0.01
    steps: float = 0.01
    shifts: float = 0.02

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if not 0.0 <= rate < np.inf:
                raise TvmqError(f"the rate of learning of {name} must be at least 0, got {rate}")

    def of_places(self, pair: WeightPair, samples: int) -> float:
        """Return the rate for a pair whose readers see so many samples.

        It is ``places`` times ``share_of_few``.
        """
        return self.places * share_of_few(pair.values.size, pair.readers, samples)


def share_of_few(weights: int, readers: Sequence[relax.Var], samples: float) -> float:
    """Return ``c / (c + FEW)`` for ``c`` results a weight, which is columns seen for each weight of a row.

    ``readers`` are the results of the operators that read so many weights; ``samples`` may be infinite.

    What few columns say of many weights holds for those columns alone: such weights should hardly move.
    """
    if math.isinf(samples):
        return 1.0
    seen = samples * sum(math.prod(shape_of(reader)) for reader in readers) / weights
    return seen / (seen + FEW)


def starting_places(pair: WeightPair) -> np.ndarray:
    """Return where weights begin, in their steps: near their integers, towards their float values; float32."""
    wanted = pair.values / along(pair.scales, pair.axis, pair.values.ndim)
    integers = pair.integers.astype(np.float32)
    return np.clip(wanted, integers - NEAR, integers + NEAR).astype(np.float32)


class Parameter:
    """Numbers that follow their gradients by Adam (Kingma and Ba, 2015).

    Attributes
    ----------
    values, gradient : float32 arrays of one shape.
    """

    def __init__(self, values: np.ndarray, rate: float):
        self.values = values.astype(np.float32)
        self.gradient = np.zeros_like(self.values)
        self._rate = rate
        self._mean, self._square = np.zeros_like(self.values), np.zeros_like(self.values)
        self._count = 0

    def restart(self) -> None:
        """Forget earlier gradients: those that come are of another loss."""
        for array in (self.gradient, self._mean, self._square):
            array[...] = 0.0
        self._count = 0

    def step(self, share: float) -> None:
        """Move by ``share`` of the rate of learning, and clear the gradient."""
        self._count += 1
        self._mean += (1.0 - _BETA1) * (self.gradient - self._mean)
        self._square += (1.0 - _BETA2) * (np.square(self.gradient) - self._square)
        rate = self._rate * share * np.sqrt(1.0 - _BETA2**self._count) / (1.0 - _BETA1**self._count)
        self.values -= np.float32(rate) * self._mean / (np.sqrt(self._square) + np.float32(_EPSILON))
        self.gradient[...] = 0.0


class LearnedWeights:
    """Weights whose integers, and whose scales, are learned."""

    def __init__(self, pair: WeightPair, rate: float, scale_rate: float):
        self._axis, self._limits = pair.axis, pair.limits
        self._scales = pair.scales
        self.places = Parameter(starting_places(pair), rate)
        self.growth = Parameter(np.zeros(pair.scales.shape), scale_rate)

    @property
    def parameters(self) -> list[Parameter]:
        return [self.places, self.growth]

    @property
    def scales(self) -> np.ndarray:
        """float32, ``[O]`` or ``[1]``."""
        return (self._scales * np.exp(self.growth.values)).astype(np.float32)

    @property
    def integers(self) -> np.ndarray:
        """float32, in the shape of the weights."""
        return np.clip(np.rint(self.places.values), *self._limits)

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        """Return the weights, float32; there are no operands."""
        self._integers = self.integers
        self._along = along(self.scales, self._axis, self._integers.ndim)
        return self._integers * self._along

    def backward(self, gradient: np.ndarray) -> Arrays:
        scaled = gradient * self._along
        by_scale = scaled * self._integers
        others = tuple(place for place in range(scaled.ndim) if place != self._axis)
        self.growth.gradient += by_scale.sum(axis=others) if self._scales.size > 1 else by_scale.sum()
        low, high = self._limits
        scaled *= (self.places.values > low - 0.5) & (self.places.values < high + 0.5)
        self.places.gradient += scaled
        return ()


class LearnedShift:
    """A weighted operator with a shift of its result, one a channel, that is learned."""

    def __init__(self, rule: Rule, channels: int, rate: float):
        self._rule = rule
        self._unit = np.zeros(channels, np.float32)
        self.share = Parameter(np.zeros(channels), rate)

    @property
    def parameters(self) -> list[Parameter]:
        return [self.share]

    @property
    def shift(self) -> np.ndarray:
        """float32 ``[O]``."""
        return self.share.values * self._unit

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        result = self._rule.forward(*operands)
        others = tuple(range(result.ndim - 1))
        if not self._unit.any():
            self._unit = result.std(axis=others)
        result += self.shift
        return result

    def backward(self, gradient: np.ndarray) -> Arrays:
        self.share.gradient += gradient.sum(axis=tuple(range(gradient.ndim - 1))) * self._unit
        return self._rule.backward(gradient)


class LearnedStep:
    """An activation's pair whose step is learned; its zero point stays.

    Attributes
    ----------
    drop : share of the values that stay float in ``forward``; 0 for the pair as it is.
    """

    def __init__(self, pair: ActivationPair, rate: float, rng: np.random.Generator):
        first, last = activation_limits(pair.dtype, pair.bits)
        self._limits = float(first - pair.zero_point), float(last - pair.zero_point)
        self._scale = pair.scale
        self._rng = rng
        self.growth = Parameter(np.zeros(()), rate)
        self.drop = 0.0

    @property
    def parameters(self) -> list[Parameter]:
        return [self.growth]

    @property
    def scale(self) -> np.float32:
        return np.float32(self._scale * np.exp(self.growth.values))

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        (self._data,) = operands
        step = self.scale
        self._inverse = float(np.float32(1.0) / step)
        self._drop = (_bytes(self._data.size, self._rng), _threshold(self.drop)) if self.drop else ()
        result = np.empty(self._data.shape, np.float32)
        forward, _ = quantizer(bool(self._drop))
        forward(
            *self._drop, self._data.reshape(-1), result.reshape(-1), self._inverse, float(step), *self._limits
        )
        return result

    def backward(self, gradient: np.ndarray) -> Arrays:
        passed, sums = np.empty(gradient.shape, np.float32), np.empty(sums_of(gradient.size), np.float32)
        _, backward = quantizer(bool(self._drop))
        backward(
            *self._drop,
            self._data.reshape(-1),
            gradient.reshape(-1),
            passed.reshape(-1),
            sums,
            self._inverse,
            *self._limits,
        )
        # Times s, for the logarithm of the step.
        self.growth.gradient += sums.sum() * self.scale
        return (passed,)


def mix(array: np.ndarray, other: np.ndarray, mask: np.ndarray) -> None:
    """Make an array the other one where the mask is true, up to rounding; a masked copy takes five times as long."""
    array += (other - array) * mask


def kept(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    """Return a random mask that is true for about a share of its elements, to 1 / 256."""
    return (_bytes(int(np.prod(shape)), rng) < _threshold(share)).reshape(shape)


def _bytes(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.frombuffer(bytearray(rng.bytes(size)), np.uint8)


def _threshold(share: float) -> int:
    """Return how many of the 256 values of a byte are about that share."""
    return round(256 * share)
