"""The mean error that rounding the weights makes, taken off the bias.

    E[(w + e) x + b] = E[w x + b] + e E[x]        so  b' = b - e E[x]

``e`` is what rounding did to the weights; ``E[x]`` the mean of the operator's input over the calibration
samples, one a channel. Where the filters are small, as in a depthwise convolution, their few errors do not
average out, and this is much of what quantization loses (Nagel et al., 2019, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from .affine import CHANNEL_AXIS, as_affine, per_channel, response_to_constant
from .graph import bindings_of, consumers_of, op_name, shape_of


class ChannelMean:
    """Watches a tensor; its mean along every axis but ``axis``."""

    def __init__(self, axis: int):
        self._axis = axis
        self._sum: np.ndarray | float = 0.0
        self._count = 0

    def update(self, array: np.ndarray) -> None:
        others = tuple(place for place in range(array.ndim) if place != self._axis % array.ndim)
        self._sum = self._sum + array.mean(axis=others, dtype=np.float64)
        self._count += 1

    @property
    def mean(self) -> np.ndarray:
        """float64 ``[C]``; zero before the first sample."""
        return np.asarray(self._sum / max(self._count, 1))


def mean_error(call: relax.Call, weight_error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return what the errors of its weights add to a weighted operator's result on average, float64 ``[O]``."""
    return response_to_constant(call, weight_error.astype(np.float64), mean)


@dataclass(frozen=True)
class Bias:
    """A constant added to what a weighted operator alone gives.

    ``weighted`` is the variable of that operator's result, ``values`` the bias, float64 ``[O]``.
    """

    weighted: relax.Var
    values: np.ndarray


def biases_of(mod: IRModule) -> dict[relax.Var, Bias]:
    """Return the additions of a constant bias to a weighted operator's result that nothing else reads."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    readers = consumers_of(mod)
    found = {}
    for var, value in values.items():
        affine = as_affine(value) if op_name(value) == "relax.add" else None
        if affine is None or len(readers.get(affine.data, ())) != 1:
            continue
        axis = CHANNEL_AXIS.get(op_name(values.get(affine.data)))
        bias = None if axis is None else per_channel(affine.shift, shape_of(value), axis)
        if bias is not None:
            found[var] = Bias(affine.data, bias)
    return found
