"""One layer's weights rounded for its result, from the moments of what it reads.

W* = W (C + M) (H + M)^-1,   Q nearest to W* in the metric H + R         (``passes.improve.rounding``)
H -> its blocks on the diagonal, where a row has too many weights        (``passes.improve.gram``)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import relax

from ..hub.lane_sums import fitted_to, is_merged, largest_sums, runs_of
from ..hub.pairs import WeightPair, WeightParameters
from ..hub.schemes import Scheme
from . import lattice
from .gram import Moments, grouped, ungrouped

DAMPING = 1.0
"""``r``. Suits 100 pictures: with 0.1, MobileNetV2's error in 4 bits is 20 times as large on others as on them."""

MAKING_UP = 1000.0
"""``m``: on 200 pictures the ridge is 0.01 of the diagonal for MobileNetV2's first layers and 98 for its last ones.
Neighbouring columns are much alike, so it takes so many of them to tell what one weight should be."""

AT_ONCE = 2**24
"""Weights that are rounded side by side at most, which bounds the memory: about ten arrays of float64 for each."""


@dataclass(frozen=True)
class LayerOptions:
    """How a layer is rounded; each as in ``RoundWeights``."""

    damping: float = DAMPING
    making_up: float = MAKING_UP
    fit_scales: bool = True


def rounded(
    pair: WeightPair,
    readers: list[tuple[relax.Call, Moments]],
    options: LayerOptions,
    scheme: Scheme | None,
) -> WeightParameters:
    """Return the weights rounded for the inputs that the calls which read them have.

    Scales grow, as in ``limit_sums``, until the weights keep the scheme's limit of what meets in a lane.
    """
    call, blocks = readers[0][0], readers[0][1].blocks
    weight = grouped(call, pair.values)
    count = sum(moments.count for _, moments in readers)
    covariance, cross, means = (
        sum(part * moments.count for part, moments in zip(parts, (item[1] for item in readers), strict=True))
        / count
        for parts in zip(
            *((m.covariance, m.cross_covariance, blocks.split(m.means[1], 1)) for _, m in readers),
            strict=True,
        )
    )
    hessian = covariance + lattice.ridge(covariance, means, options.damping)
    weights_by_columns = covariance.shape[-1] / count
    hold = lattice.ridge(covariance, means, options.making_up * options.damping * weights_by_columns)
    covariance += hold
    cross += hold
    del hold
    limits, per_channel = pair.limits, pair.scales.size > 1

    def nearest(scales: np.ndarray, fit_scales: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return integers, int8 ``[G, O, K]``, and scales ``[G, O]``, some rows at a time."""
        integers, new = np.empty(weight.shape, np.int8), np.empty(scales.shape)
        at_once = max(1, AT_ONCE // (weight.shape[0] * weight.shape[2])) if per_channel else weight.shape[1]
        for first in range(0, weight.shape[1], at_once):
            rows = np.s_[:, first : first + at_once]
            wanted = blocks.split(weight[rows], 2).astype(np.float64) @ cross
            # W* (H + M) = W (C + M), and H is symmetric.
            target = np.linalg.solve(covariance, wanted.transpose(0, 2, 1)).transpose(0, 2, 1)
            found, fitted = lattice.nearest(
                target,
                np.repeat(scales[rows], blocks.count, axis=0),
                hessian,
                limits,
                fit_scales,
                per_channel,
                blocks.count,
            )
            integers[rows], new[rows] = blocks.join(found, 2), fitted[:: blocks.count]
        return integers, new

    scales = np.broadcast_to(pair.scales.astype(np.float64), weight.shape[0] * weight.shape[1])
    scales = scales.reshape(weight.shape[:2])
    power_of_two = scheme is not None and scheme.power_of_two
    integers, scales = nearest(scales, options.fit_scales and not power_of_two)
    while scheme is not None and scheme.lane_sums is not None:
        runs = runs_of(ungrouped(call, integers), pair.axis, is_merged(call, pair.values))
        sums = fitted_to(runs, scheme.lane_sums)
        excess = largest_sums(runs, sums).reshape(scales.shape) / sums.limit
        if (excess <= 1.0).all():
            break
        if not per_channel:
            excess = np.full_like(excess, excess.max())
        growth = np.full_like(excess, 2.0) if power_of_two else np.maximum(excess, 1.002)
        scales = np.where(excess > 1.0, scales * growth, scales)
        integers, scales = nearest(scales)
    flat = scales.reshape(-1).astype(np.float32)
    return WeightParameters(flat if per_channel else flat[:1], ungrouped(call, integers).astype(np.int8))


def shift_of(pair: WeightPair, call: relax.Call, moments: Moments) -> np.ndarray:
    """Return what the bias makes up for: ``W E[x] - Q E[x']``, float64 ``[O]``."""
    exact, quantized = moments.means
    wanted = grouped(call, pair.values.astype(np.float64)) * exact[:, None, :]
    given = grouped(call, pair.restored) * quantized[:, None, :]
    return (wanted - given).sum(axis=-1).reshape(-1)
