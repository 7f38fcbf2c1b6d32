"""Steps of parameters along their gradients, all of them as one vector.

    sgd      v = m v + g                      w -= rate u (v + d w / u)
    adam     m += (1 - b1) (g - m),  v += (1 - b2) (g^2 - v)
             w -= rate (u m c / (sqrt v + e) + d w),   c = sqrt(1 - b2^t) / (1 - b1^t)

``u`` is the unit of each number (``parameter.Parameter``) times the rate of its kind, ``d`` a decay that does not go
through the gradient: zero for Adam (Kingma and Ba, 2015), and AdamW with any other (Loshchilov and Hutter, "Decoupled
weight decay", 2019). Rates rise linearly over the first steps and then fall along a cosine to zero (Loshchilov and
Hutter, "SGDR", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...errors import unknown
from ..annotate.learning import OPTIMIZERS
from ..improve.kernels import Kernel, array, compiled, extents, numbers

BETA1, BETA2, EPSILON, MOMENTUM = 0.9, 0.999, 1e-12, 0.9
WARM_UP = 30
"""Steps until the rates are what they are called: Adam knows the sizes of the gradients by then."""

LANES = 16


def schedule(step: int, total: int) -> float:
    """Return the share of the rate for a step, counted from 0, of so many."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * min(step / total, 1.0)))


@dataclass
class Optimizer:
    """What moves the parameters.

    Attributes
    ----------
    name : one of ``OPTIMIZERS``.
    units : of the parameters, float32.
    decays : of each towards zero, as a share of the rate, float32.
    moments : what is remembered, float32 ``[2, size]``; SGD uses the first row.
    count : steps so far.
    """

    name: str
    units: np.ndarray
    decays: np.ndarray
    moments: np.ndarray
    count: int = 0

    @classmethod
    def of(cls, name: str, units: np.ndarray, decays: np.ndarray) -> Optimizer:
        """Return one without a past; raises ``TvmqError`` for an unknown name."""
        if name not in OPTIMIZERS:
            raise unknown("optimizer", name, OPTIMIZERS)
        return cls(name, units, decays, np.zeros((2, units.size), np.float32))

    def step(self, values: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Move the values, float32 ``[size]``, in place."""
        self.count += 1
        if self.name == "sgd":
            _kernel("sgd")(gradient, self.units, self.decays, self.moments[0], values, float(rate))
            return
        correction = math.sqrt(1.0 - BETA2**self.count) / (1.0 - BETA1**self.count)
        _kernel("adam")(
            *(gradient, self.units, self.decays, self.moments[0], self.moments[1], values),
            *(float(rate), float(correction)),
        )


@cache
def _kernel(name: str) -> Kernel:
    return compiled(_sgd if name == "sgd" else _adam)


def _number(value: float) -> Any:
    return tirx.const(value, "float32")


def _adam() -> None:
    (size,) = extents("size")
    gradient, units, decays, mean, square, values = (
        array(name, size) for name in ("g", "u", "d", "m", "v", "w")
    )
    rate, correction = numbers("rate correction")

    def body(at: Any) -> None:
        share = gradient[at]
        moved = mean[at] + _number(1.0 - BETA1) * (share - mean[at])
        squared = square[at] + _number(1.0 - BETA2) * (share * share - square[at])
        change = units[at] * moved * correction / (tirx.sqrt(squared) + _number(EPSILON))
        # First what reads the moments as they were: an expression is computed anew wherever it stands.
        T.buffer_store(values, values[at] - rate * (change + decays[at] * values[at]), [at])
        T.buffer_store(mean, moved, [at])
        T.buffer_store(square, squared, [at])

    _each(size, body)


def _sgd() -> None:
    (size,) = extents("size")
    gradient, units, decays, momentum, values = (array(name, size) for name in ("g", "u", "d", "m", "w"))
    (rate,) = numbers("rate")

    def body(at: Any) -> None:
        moved = _number(MOMENTUM) * momentum[at] + gradient[at]
        T.buffer_store(values, values[at] - rate * (units[at] * moved + decays[at] * values[at]), [at])
        T.buffer_store(momentum, moved, [at])

    _each(size, body)


def _each(size: Any, body: Callable[[Any], None]) -> None:
    with T.serial(0, size // LANES) as vector, T.vectorized(0, LANES) as lane:
        body(vector * LANES + lane)
    with T.serial(0, size % LANES) as rest:
        body(size // LANES * LANES + rest)
