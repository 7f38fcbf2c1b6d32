"""Weights of mixed bits, from how far rounding moves them: the larger the start scale, the fewer bits.

    bits of a layer = the fewest b with |q_b(w) - w| <= t |w|          2-norms over its weights; t is the start scale

``q_b`` rounds to nearest, with scales from the largest magnitudes. For normal weights each bit halves the error: 8 bits
move them by about 0.7 %, 4 bits by 13 %. It needs no samples. Its model are the mixed bits of MindSpore Lite, whose
``init_scale`` has the same default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..hub.bits import Bits
from ..hub.parameters import along, quantize_weight, weight_limits, weight_parameters

CANDIDATES = (2, 3, 4, 5, 6, 7, 8)


def mixed_bits(
    bits: Bits,
    weights: Mapping[str, tuple[np.ndarray, int]],
    start_scale: float,
    per_channel: bool,
    candidates: Sequence[int] = CANDIDATES,
) -> Bits:
    """Return the bits with those of the weights replaced; activations keep theirs.

    Parameters
    ----------
    weights : values and axis of the output channels, by the name of the layer.
    start_scale : t, in (0, 1).
    candidates : the widths that there are; the largest where none is enough.
    """
    chosen = {
        name: fewest_bits(values, axis, start_scale, per_channel, candidates)
        for name, (values, axis) in weights.items()
    }
    return dataclasses.replace(bits, weights={**bits.weights, **chosen})


def fewest_bits(
    weight: np.ndarray, axis: int, start_scale: float, per_channel: bool, candidates: Sequence[int]
) -> int:
    """Return the fewest of the candidates that move the weights by no more than ``start_scale`` of their norm."""
    allowed = start_scale * np.linalg.norm(weight)
    for bits in sorted(candidates):
        if np.linalg.norm(rounded(weight, axis, bits, per_channel) - weight) <= allowed:
            return bits
    return max(candidates)


def rounded(weight: np.ndarray, axis: int, bits: int, per_channel: bool) -> np.ndarray:
    """Return the weights rounded to nearest, as float64, with scales from their largest magnitudes."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis] if per_channel else 1, -1)
    scales = weight_parameters(np.abs(rows).max(axis=1, initial=0.0), bits)
    integers = quantize_weight(weight, scales, axis, weight_limits(bits))
    return integers * along(scales.astype(np.float64), axis, weight.ndim)
