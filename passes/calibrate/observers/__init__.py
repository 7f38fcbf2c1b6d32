"""Observers watch a tensor over the calibration samples and say which range of it to represent.

A new one is a class in a file of its own, as ``observer.Observer`` says, and a row in ``OBSERVERS``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....errors import unknown
from .average_max import AverageMax
from .entropy import Entropy
from .least_error import EarthMover, MeanSquaredError
from .minmax import MinMax
from .moving_average import MovingAverage
from .observer import Observer
from .outliers import OutlierRemoval
from .percentile import Percentile
from .weights import emd_weights, minmax_weights, mse_weights, percentile_weights

LOSS_AWARE = "lapq"

OBSERVERS: dict[str, Callable[[int], Observer]] = {
    "minmax": MinMax,
    "moving-average": MovingAverage,
    "average-max": AverageMax,
    "percentile": Percentile,
    "outliers": OutlierRemoval,
    "mse": MeanSquaredError,
    "kl": Entropy,
    "emd": EarthMover,
    # Where ``improve.loss_aware.LossAwareClip`` begins, which follows the calibration where this is chosen.
    LOSS_AWARE: MeanSquaredError,
}
DEFAULT_OBSERVER = "percentile"

WEIGHT_OBSERVERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "minmax": minmax_weights,
    "percentile": percentile_weights,
    "mse": mse_weights,
    "emd": emd_weights,
}
"""``(float weights [C, n], largest integer) -> largest magnitude to represent [C]``."""
DEFAULT_WEIGHT_OBSERVER = "minmax"


def get_observer(name: str) -> Callable[[int], Observer]:
    """Return the observer of that name; raises ``TvmqError`` with the close matches for another one."""
    if name not in OBSERVERS:
        raise unknown("observer", name, OBSERVERS)
    return OBSERVERS[name]


def get_weight_observer(name: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return the weight observer of that name; raises ``TvmqError`` for an unknown one."""
    if name not in WEIGHT_OBSERVERS:
        raise unknown("weight observer", name, WEIGHT_OBSERVERS)
    return WEIGHT_OBSERVERS[name]
