"""The nearest integers to weights, where the distance is the error of the layer's result.

    minimize tr((W - s Q) H (W - s Q)^T)    over integers Q within limits,  H = E[x x^T]

Two steps, both one column of Q at a time for all output channels at once. *GPTQ* (Frantar et al., 2023, after OBQ):
round column k, and move the columns that are still float to where they make up best for it, by the Cholesky factor
of the inverse of H. *Coordinate descent* from there: each weight goes to its best integer while all others stay,
until none moves. The scales are fitted in between: for given Q the best scale of a row is q H w / q H q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)
"""Of the scales that are given: where the search for better ones begins."""
REFITS = 3
"""How often scales are fitted to integers and integers to scales."""
SWEEPS = 8
"""Of coordinate descent at most; what moves after that gains next to nothing."""
BLOCK = 64
"""Columns after which what rounding them does to all others is brought up to date, in one product of matrices."""


def ridge(covariance: np.ndarray, means: np.ndarray, share: float) -> np.ndarray:
    """Return what is added to ``[G, K, K]`` to make it invertible: a share of its diagonal, ``[G, K, K]``.

    So the correlations between columns are divided by 1 + share (Ledoit and Wolf, 2004, shrink towards the diagonal).
    Where columns ``[G, K]`` hardly vary, their covariance is no more than the rounding of float32 sums, which is
    relative to their mean squares.
    """
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    floor = 1e-3 * (variance.mean(-1) + np.square(means).mean(-1))
    diagonal = np.maximum(variance, floor[:, None])
    return np.eye(covariance.shape[-1]) * np.where(diagonal > 0.0, share * diagonal, 1.0)[:, None, :]


@dataclass(frozen=True)
class Factor:
    """What ``gptq`` needs of a Hessian.

    Attributes
    ----------
    order : of the columns, int ``[G, K]``.
    upper : of the inverse in that order, its factor ``U`` with ``U^T U``, float64 ``[G, K, K]``.
    """

    order: np.ndarray
    upper: np.ndarray

    @classmethod
    def of(cls, hessian: np.ndarray) -> Factor:
        """Return the factor of a positive definite ``[G, K, K]``."""
        # The columns that matter most go first, while there are many others to make up for them.
        order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1)
        upper = np.empty_like(hessian)
        for group, places in enumerate(order):
            inverse = np.linalg.inv(hessian[group][np.ix_(places, places)])
            upper[group] = np.linalg.cholesky(inverse).T
        return cls(order, upper)


def gptq(weight: np.ndarray, scales: np.ndarray, factor: Factor, limits: tuple[int, int]) -> np.ndarray:
    """Return integers, float64 ``[G, O, K]``.

    Parameters
    ----------
    weight : float64 ``[G, O, K]``.
    scales : float64 ``[G, O]``.
    factor : of the Hessian.
    limits : the smallest and the largest integer.
    """
    order, upper = factor.order, factor.upper
    groups = np.arange(len(weight))[:, None]
    rest = weight.transpose(0, 2, 1)[groups, order]
    integers = np.empty_like(rest)
    for start in range(0, rest.shape[1], BLOCK):
        stop = min(start + BLOCK, rest.shape[1])
        errors = np.empty_like(rest[:, start:stop])
        for place in range(start, stop):
            column = rest[:, place]
            integers[:, place] = np.clip(np.rint(column / scales), *limits)
            error = (column - integers[:, place] * scales) / upper[:, place, place, None]
            rest[:, place + 1 : stop] -= upper[:, place, place + 1 : stop, None] * error[:, None, :]
            errors[:, place - start] = error
        rest[:, stop:] -= upper[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    result = np.empty_like(integers)
    result[groups, order] = integers
    return result.transpose(0, 2, 1)


def descend(
    weight: np.ndarray, scales: np.ndarray, hessian: np.ndarray, limits: tuple[int, int], integers: np.ndarray
) -> np.ndarray:
    """Return the integers after coordinate descent from ``integers``; ``hessian`` is as for ``nearest``."""
    integers = integers.copy()
    gradient = (weight - integers * scales[..., None]) @ hessian
    curvature = np.diagonal(hessian, axis1=1, axis2=2)
    for _ in range(SWEEPS):
        before = integers.copy()
        for start in range(0, weight.shape[2], BLOCK):
            part = slice(start, start + BLOCK)
            near, own = gradient[..., part].copy(), hessian[:, part, part]
            steps = np.zeros_like(near)
            for place, column in enumerate(range(start, start + near.shape[2])):
                wish = integers[..., column] + near[..., place] / (curvature[:, None, column] * scales)
                best = np.clip(np.rint(wish), *limits)
                steps[..., place] = (best - integers[..., column]) * scales
                near -= steps[..., place, None] * own[:, None, place]
                integers[..., column] = best
            gradient -= steps @ hessian[:, part]
        if np.array_equal(before, integers):
            break
    return integers


def fitted_scales(
    weight: np.ndarray,
    scales: np.ndarray,
    hessian: np.ndarray,
    integers: np.ndarray,
    per_channel: bool,
    parts: int = 1,
) -> np.ndarray:
    """Return the scales ``[G, O]`` that suit the integers best; where there is no best one, as they were."""
    response = integers @ hessian
    fit, norm = (_total((response * other).sum(-1), per_channel, parts) for other in (weight, integers))
    good = (norm > 0.0) & (fit > 0.0)
    return np.where(good, fit / np.where(good, norm, 1.0), scales)


def error(weight: np.ndarray, scales: np.ndarray, hessian: np.ndarray, integers: np.ndarray) -> np.ndarray:
    """Return the error of each row, float64 ``[G, O]``."""
    residual = weight - integers * scales[..., None]
    return ((residual @ hessian) * residual).sum(-1)


def nearest(
    weight: np.ndarray,
    scales: np.ndarray,
    hessian: np.ndarray,
    limits: tuple[int, int],
    fit_scales: bool = False,
    per_channel: bool = True,
    parts: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return integers, float64 ``[G, O, K]``, and their scales, float64 ``[G, O]``.

    Parameters
    ----------
    hessian : positive definite, float64 ``[G, K, K]``.
    fit_scales : choose the scales too; else they stay. The others are as for ``gptq``.
    per_channel : each row may have a scale of its own; else all of ``scales`` are, and stay, equal.
    parts : so many consecutive groups are parts of the same rows, and have their scales in common.
    """
    factor = Factor.of(hessian)
    integers = gptq(weight, scales, factor, limits)
    if fit_scales:
        least = _total(error(weight, scales, hessian, integers), per_channel, parts)
        begin = scales
        for share in SHARES[1:]:
            tried = gptq(weight, begin * share, factor, limits)
            cost = _total(error(weight, begin * share, hessian, tried), per_channel, parts)
            better = cost < least
            least = np.where(better, cost, least)
            scales = np.where(better, begin * share, scales)
            integers = np.where(better[..., None], tried, integers)
    integers = descend(weight, scales, hessian, limits, integers)
    for _ in range(REFITS if fit_scales else 0):
        scales = fitted_scales(weight, scales, hessian, integers, per_channel, parts)
        integers = descend(weight, scales, hessian, limits, integers)
    return integers, scales


def _total(errors: np.ndarray, per_channel: bool, parts: int) -> np.ndarray:
    """Return the errors ``[G, O]`` of what shares a scale; each of the ``parts`` of a row has that of all."""
    if not per_channel:
        return np.full_like(errors, errors.sum())
    if parts == 1:
        return errors
    return np.repeat(errors.reshape(-1, parts, errors.shape[1]).sum(1), parts, axis=0)
