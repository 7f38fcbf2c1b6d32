"""What rounding does to a matrix product, measured on some of its rows: signal to noise of the result, in decibels.

    - 10 log10(mean over rows of |q(x / s) Q(s W) - x W|^2 / |x W|^2)

with ``s`` factors of channels (``passes.improve.smooth``). Each row, which is a token, counts by itself: a network
normalizes its tokens one by one, and a few that are a hundred times as large as the others (Sun et al., Massive
Activations in Large Language Models, 2024) would drown their errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..hub import arithmetic
from ..hub.parameters import (
    SMALLEST_SCALE,
    activation_parameters,
    along,
    quantize_weight,
    weight_parameters,
)

ROWS = 256
"""Rows that tell errors well enough."""

ROWS_A_SAMPLE = 16

LEAST_SIGNAL = 0.01
"""Of a row, as a share of the mean: what is next to nothing, such as behind padding, may be off by as much."""


class RowSample:
    """Watches a tensor ``[..., K]``: the range of each channel, and some of its rows.

    Attributes
    ----------
    low, high : float32 ``[K]``.
    """

    def __init__(self) -> None:
        self.low: np.ndarray | float = np.inf
        self.high: np.ndarray | float = -np.inf
        self._rows: list[np.ndarray] = []
        self._count = 0

    def update(self, array: np.ndarray) -> None:
        """Take in the values of one sample."""
        rows = array.reshape(-1, array.shape[-1])
        self.low = np.minimum(self.low, rows.min(axis=0))
        self.high = np.maximum(self.high, rows.max(axis=0))
        if self._count < ROWS:
            kept = rows[:: -(-len(rows) // ROWS_A_SAMPLE)].copy()
            self._rows.append(kept)
            self._count += len(kept)

    @property
    def rows(self) -> np.ndarray:
        """float32 ``[R, K]``."""
        return np.concatenate(self._rows)

    @property
    def largest(self) -> np.ndarray:
        """Largest magnitude of each channel, ``[K]``."""
        return np.maximum(self.high, -np.asarray(self.low))


@dataclass(frozen=True)
class ProductError:
    """The products of one input with some weights.

    Attributes
    ----------
    data : what the input's values are.
    weights : of each product, float32 ``[K, N]``.
    """

    data: RowSample
    weights: Sequence[np.ndarray]

    def static(self, factors: np.ndarray | None = None) -> float:
        """Return the ratio for one scale of all values, that of their range."""
        divisor = np.float32(1) if factors is None else factors.astype(np.float32)
        low, high = (self.data.low / divisor).min(), (self.data.high / divisor).max()
        scale, zero = activation_parameters(low, high, "uint8", symmetric=False)
        integers = arithmetic.quantize(self.data.rows / divisor, float(scale), zero, "uint8")
        return self._ratio(arithmetic.dequantize(integers, float(scale), zero), factors)

    def dynamic(self) -> float:
        """Return the ratio for a scale, and a zero point, of each row."""
        integers, scales, zeros = arithmetic.quantize_rows(self.data.rows, "uint8", symmetric=False)
        return self._ratio((integers.astype(np.float32) - zeros[:, None]) * scales[:, None], None)

    def _ratio(self, rounded: np.ndarray, factors: np.ndarray | None) -> float:
        signal = noise = np.zeros(len(rounded))
        for weight in self.weights:
            exact = self.data.rows @ weight
            scaled = weight if factors is None else weight * factors[:, None].astype(np.float32)
            signal = signal + np.square(exact, dtype=np.float64).sum(axis=1)
            noise = noise + np.square(rounded @ _rounded_weight(scaled) - exact, dtype=np.float64).sum(axis=1)
        least = max(LEAST_SIGNAL * float(signal.mean()), SMALLEST_SCALE)
        lost = float(np.minimum(noise / np.maximum(signal, least), 1.0).mean())
        return math.inf if lost == 0.0 else -10 * math.log10(lost)


def _rounded_weight(weight: np.ndarray) -> np.ndarray:
    """Return weights ``[K, N]`` as their integers of 8 bits, one scale a column, stand for them."""
    scales = weight_parameters(np.abs(weight).max(axis=0))
    return quantize_weight(weight, scales, 1).astype(np.float32) * along(scales, 1, 2)
