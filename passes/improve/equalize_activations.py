"""Factors a channel that make the channels of an activation alike, so that all of them use the few steps of its scale.

    y_i -> y_i / s_i,    s_i = (E y_i^4)^(1/4) / mean        A_i -> A_i / s_i, b_i -> b_i / s_i,  B_i -> B_i s_i

``A`` are all weighted operators that give ``y``, ``B`` all that read it; in between may be what a positive factor
passes, residual additions too, whose operands and results then have the same factors. With one scale a tensor and range
``r`` the error of channel i is ``s_i r`` in the old units: no larger than what its own range asks for only where all
ranges are alike. (``Equalize`` makes weights alike instead; the idea for activations is that of Xiao et al.,
"SmoothQuant", 2023.) The rows of ``A``, and all of a depthwise ``B``, have scales of their own that take the factors.

The fourth power lies between the mean square and the largest value. A limit, as in relu6, stays: a channel that
reaches it in some sample keeps the factor 1, and no other is enlarged beyond it, so on the samples the float model is
the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.sample_check import Sample
from ..calibrate.watch import Progress, Runner, compile_for_host, watch
from ..hub.graph import activations, bindings_of, op_name, shape_of
from ..hub.limits import limits_of
from ..hub.operators import OPERATORS
from ..prepare.affine import CHANNEL_AXIS, is_depthwise, spread_over_inputs
from .bias_correction import biases_of
from .chains import HOMOGENEOUS, Weights

SMALLEST = 1 / 32
"""Factor: a channel that hardly fires on the samples may do so on others, and would be clipped there."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.EqualizeActivations")
@dataclass(frozen=True)
class EqualizeActivations:
    """Make channels of activations alike; requires a prepared float module without pairs.

    Attributes
    ----------
    samples, runner, progress : as for ``Calibrate``.
    strength : exponent of the factors, from 0, which changes nothing, to 1; for what only depthwise operators read it
        is always 1, since there the weights lose nothing.
    """

    samples: Iterable[Sample]
    strength: float = 1.0
    runner: Runner = compile_for_host
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise TvmqError(f"strength of equalization must be from 0 to 1, got {self.strength}")

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with other weights and biases.

        Raises
        ------
        TvmqError : as ``watch`` does.
        """
        groups = groups_of(mod)
        if not groups:
            return mod
        weights = Weights.of(mod)
        sizes: dict[relax.Var, ChannelSize] = {}
        for group in groups:
            axis = CHANNEL_AXIS[op_name(weights.calls[group.producers[0]])]
            sizes |= {var: ChannelSize(axis) for var in (*group.read, *group.limits)}
        watchers = {var: [size] for var, size in sizes.items()}
        watch(mod, watchers, self.samples, self.runner, self.progress, "equalize activations")
        for group in groups:
            free = all(is_depthwise(weights.calls[var]) for var in group.consumers)
            factors = _factors(group, sizes) ** (1.0 if free else self.strength)
            for var in group.producers:
                by_output = factors[:, None, None, None] if weights.values[var].ndim == 4 else factors
                weights.values[var] = weights.values[var] / by_output
                weights.biases[var] = weights.biases[var] / factors
            for var in group.consumers:
                spread = spread_over_inputs(weights.calls[var], weights.values[var], factors)
                weights.values[var] = weights.values[var] * spread
        return weights.put_into(mod)


@dataclass
class Group:
    """Values that must have the same factors.

    Attributes
    ----------
    producers, consumers : the weighted operators that give and read them, by the variables of their results.
    read : those of the values that the consumers read.
    limits : upper limits by the values that have them.
    """

    producers: list[relax.Var] = field(default_factory=list)
    consumers: list[relax.Var] = field(default_factory=list)
    read: list[relax.Var] = field(default_factory=list)
    limits: dict[relax.Var, float] = field(default_factory=dict)


def groups_of(mod: IRModule) -> list[Group]:
    """Return the groups of the module whose values only weighted operators of one kind give and read."""
    return _Finder(mod).groups()


class _Finder:
    def __init__(self, mod: IRModule):
        self._mod = mod
        self._values = {binding.var: binding.value for binding in bindings_of(mod)}
        self._biases = biases_of(mod)
        self._weighted = Weights.of(mod).calls
        self._root: dict[relax.Var, relax.Var] = {}
        self._closed: set[relax.Var] = set()  # values that something else reads or gives

    def groups(self) -> list[Group]:
        self._closed.update(self._mod["main"].params)
        for var, value in self._values.items():
            self._follow(var, value)
        self._closed.update(activations(self._mod["main"].body.body))
        closed = {self._find(var) for var in self._closed}
        found: dict[relax.Var, Group] = {}
        for var, call in self._weighted.items():
            found.setdefault(self._find(var), Group()).producers.append(var)
            group = found.setdefault(self._find(call.args[0]), Group())
            group.consumers.append(var)
            if call.args[0] not in group.read:
                group.read.append(call.args[0])
        for var, value in self._values.items():
            limits = limits_of(value)
            if self._find(var) in found and limits is not None and np.isfinite(limits[1]):
                found[self._find(var)].limits[var] = limits[1]
        return [
            group
            for root, group in found.items()
            if root not in closed and group.producers and group.consumers and self._is_of_one_kind(group)
        ]

    def _is_of_one_kind(self, group: Group) -> bool:
        return len({op_name(self._weighted[var]) for var in (*group.producers, *group.consumers)}) == 1

    def _follow(self, var: relax.Var, value: relax.Expr) -> None:
        """Tie a result to its operands where the factors pass, and close both where they do not."""
        if var in self._weighted:
            others = [call for call in self._weighted.values() if call.args[1].same_as(value.args[1])]
            if len(others) > 1:
                self._closed.update((var, value.args[0]))
            return
        operands, limits = activations(value), limits_of(value)
        passes = (
            var in self._biases
            or (limits is not None and limits[0] == 0.0)
            or (op_name(value) in HOMOGENEOUS and not OPERATORS[op_name(value)].refuse(value))
            or (
                op_name(value) == "relax.add" and [shape_of(item) for item in operands] == [shape_of(var)] * 2
            )
        )
        for operand in operands:
            if passes:
                self._root[self._find(operand)] = self._find(var)
            else:
                self._closed.update((var, operand))

    def _find(self, var: relax.Var) -> relax.Var:
        while var in self._root and not self._root[var].same_as(var):
            var = self._root[var]
        return var


class ChannelSize:
    """Watches a tensor: for each channel the mean fourth power and the largest value."""

    def __init__(self, axis: int):
        self._axis = axis
        self._sum: np.ndarray | float = 0.0
        self._count = 0
        self.high: np.ndarray | float = -np.inf

    def update(self, array: np.ndarray) -> None:
        others = tuple(place for place in range(array.ndim) if place != self._axis % array.ndim)
        self._sum = self._sum + np.square(np.square(array, dtype=np.float64)).mean(axis=others)
        self._count += 1
        self.high = np.maximum(self.high, array.max(axis=others))

    @property
    def size(self) -> np.ndarray:
        """The fourth root of the mean fourth power, float64 ``[C]``."""
        return np.asarray(self._sum / max(self._count, 1)) ** 0.25


def _factors(group: Group, sizes: dict[relax.Var, ChannelSize]) -> np.ndarray:
    """Return the factors ``[C]``; 1 for a channel that is always zero."""
    size = np.max([sizes[var].size for var in group.read], axis=0)
    used = size > 0.0
    if not used.any():
        return np.ones_like(size)
    reach = np.zeros_like(size)
    for var, limit in group.limits.items():
        reach = np.maximum(reach, sizes[var].high / limit)
    fixed = reach >= 1.0
    common = np.exp(np.log(size[fixed & used if (fixed & used).any() else used]).mean())
    factors = np.maximum(np.where(used, size, common) / common, np.maximum(reach, SMALLEST))
    return np.where(fixed, 1.0, factors)
