"""Weighted operators whose result one other reads through nothing that a positive factor a channel does not pass.

    B(f(A x + b))  =  (B S) f(S^-1 A x + S^-1 b)        S = diag(s), s > 0, where f(S y) = S f(y)

``f`` is any chain of relu, leaky relu, pooling and zero padding. A relu6 is ``min(relu(y), 6)``: with factors the
limit of channel i becomes ``6 / s_i``, so it stays what it is only for channels that never reach the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import (
    bindings_of,
    consumers_of,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)
from ..hub.limits import limits_of
from ..hub.operators import OPERATORS, WEIGHT_AXIS
from ..prepare.affine import CHANNEL_AXIS, bias_constant, response_to_constant, spread_over_inputs
from ..prepare.fold_affine import has_constant_weight
from .bias_correction import biases_of

HOMOGENEOUS = frozenset(
    f"relax.{name}"
    for name in "nn.relu nn.leakyrelu nn.max_pool2d nn.avg_pool2d nn.adaptive_avg_pool2d nn.pad".split()
)
"""Operators that commute with a positive factor a channel, besides a clip at 0 and a limit."""


@dataclass(frozen=True)
class Chain:
    """Two weighted operators, by the variables of their results, and what lies between them.

    Attributes
    ----------
    first, second : the operators; both are convolutions, or both matrix products.
    bias : the result of the addition behind ``first``; None where it has no bias.
    clipped : the result of the clip between them; None where there is none.
    upper : the clip's upper limit; infinity without one.
    only_limits : nothing but relu and clip lies between, so that values may be shifted as well as scaled.
    """

    first: relax.Var
    second: relax.Var
    bias: relax.Var | None = None
    clipped: relax.Var | None = None
    upper: float = np.inf
    only_limits: bool = True


def chains_of(mod: IRModule) -> list[Chain]:
    """Return the chains of a prepared float module in graph order of their second operators."""
    return list(_Finder(mod).chains())


class _Finder:
    def __init__(self, mod: IRModule):
        self._values = {binding.var: binding.value for binding in bindings_of(mod)}
        self._readers = consumers_of(mod)
        self._biases = biases_of(mod)
        weighted = [value for value in self._values.values() if op_name(value) in CHANNEL_AXIS]
        self._weights = [value.args[1] for value in weighted]

    def chains(self) -> Iterator[Chain]:
        for var, value in self._values.items():
            if self._is_own(value):
                chain = self._chain_to(var, value)
                if chain is not None:
                    yield chain

    def _is_own(self, value: relax.Expr) -> bool:
        """Tell whether it is a weighted operator with constant weights that no other operator reads."""
        if op_name(value) not in CHANNEL_AXIS or not has_constant_weight(value):
            return False
        return sum(weight.same_as(value.args[1]) for weight in self._weights) == 1

    def _chain_to(self, second: relax.Var, call: relax.Call) -> Chain | None:
        var, clipped, upper, only_limits = call.args[0], None, np.inf, True
        while len(self._readers.get(var, ())) == 1:
            value = self._values.get(var)
            if self._is_own(value):
                same = op_name(value) == op_name(call)
                return Chain(var, second, None, clipped, upper, only_limits) if same else None
            if var in self._biases:
                first = self._biases[var].weighted
                value = self._values[first]
                same = self._is_own(value) and op_name(value) == op_name(call)
                return Chain(first, second, var, clipped, upper, only_limits) if same else None
            limits = limits_of(value)
            if limits is not None and limits[0] == 0.0 and clipped is None:
                clipped, upper = (var, limits[1]) if np.isfinite(limits[1]) else (None, upper)
            elif op_name(value) not in HOMOGENEOUS or OPERATORS[op_name(value)].refuse(value):
                return None
            only_limits = only_limits and limits is not None
            var = value.args[0]
        return None


@dataclass
class Weights:
    """The weights and biases of a module's weighted operators, float64, while a method changes them.

    Attributes
    ----------
    calls : the operators, by the variables of their results.
    values : their weights, OIHW or ``[K, N]``.
    biases : ``[O]``, zeros where an operator has none.
    """

    calls: Mapping[relax.Var, relax.Call]
    values: dict[relax.Var, np.ndarray] = field(default_factory=dict)
    biases: dict[relax.Var, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, mod: IRModule) -> Weights:
        """Return those of all weighted operators with constant weights."""
        calls = {
            binding.var: binding.value
            for binding in bindings_of(mod)
            if op_name(binding.value) in CHANNEL_AXIS and has_constant_weight(binding.value)
        }
        values = {var: to_numpy(call.args[1]).astype(np.float64) for var, call in calls.items()}
        biases = {var: np.zeros(shape_of(var)[CHANNEL_AXIS[op_name(call)]]) for var, call in calls.items()}
        biases |= {bias.weighted: bias.values for bias in biases_of(mod).values() if bias.weighted in calls}
        return cls(calls, values, biases)

    def output_ranges(self, var: relax.Var) -> np.ndarray:
        """Return the largest magnitude of each output channel's weights, ``[O]``."""
        values = self.values[var]
        axis = WEIGHT_AXIS[op_name(self.calls[var])]
        return np.abs(np.moveaxis(values, axis, 0)).reshape(values.shape[axis], -1).max(axis=1)

    def input_ranges(self, var: relax.Var) -> np.ndarray:
        """Return the largest magnitude of the weights that each input channel meets, ``[C]``."""
        values, call = np.abs(self.values[var]), self.calls[var]
        if op_name(call) == "relax.matmul":
            return values.max(axis=1)
        groups = int(call.attrs.groups)
        return values.reshape(groups, -1, *values.shape[1:]).max(axis=(1, 3, 4)).reshape(-1)

    def scale(self, chain: Chain, factors: np.ndarray) -> None:
        """Divide what ``chain.first`` gives by ``factors`` ``[C]`` and multiply by them in ``chain.second``."""
        first, second = chain.first, chain.second
        by_output = factors[:, None, None, None] if self.values[first].ndim == 4 else factors
        self.values[first] = self.values[first] / by_output
        self.biases[first] = self.biases[first] / factors
        spread = spread_over_inputs(self.calls[second], self.values[second], factors)
        self.values[second] = self.values[second] * spread

    def shift(self, chain: Chain, amounts: np.ndarray) -> None:
        """Take ``amounts`` ``[C]`` off what ``chain.first`` gives; ``chain.second``, unpadded, adds its response."""
        first, second = chain.first, chain.second
        response = response_to_constant(self.calls[second], self.values[second], amounts)
        self.biases[first] = self.biases[first] - amounts
        self.biases[second] = self.biases[second] + response

    def put_into(self, mod: IRModule) -> IRModule:
        """Return the module with these weights and biases; an operator without a bias gets one that is not zero.

        Weights that are as they were stay the same constant, which several operators may read.
        """
        places = {var: bias.weighted for var, bias in biases_of(mod).items() if bias.weighted in self.calls}
        biased = set(places.values())

        def add(result: relax.Expr, weighted: relax.Var) -> relax.Call:
            call = self.calls[weighted]
            axis = CHANNEL_AXIS[op_name(call)]
            bias = bias_constant(self.biases[weighted], len(shape_of(weighted)), axis)
            return with_layer_name(relax.op.add(result, bias), layer_name(call))

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if var in places:
                return add(next(item for item in value.args if isinstance(item, relax.Var)), places[var])
            if var not in self.calls:
                return value
            weight, new = value.args[1], self.values[var].astype(np.float32)
            if not np.array_equal(to_numpy(weight), new):
                weight = relax.const(new)
            call = relax.Call(value.op, [value.args[0], weight], value.attrs, value.ty_args, span=value.span)
            if var in biased or not self.biases[var].any():
                return call
            return add(builder.emit(call), var)

        return rebuild(mod, rewrite)


class ChannelRange:
    """Watches a tensor; its smallest and largest value along every axis but ``axis``.

    Attributes
    ----------
    low, high : float64 ``[C]``.
    """

    def __init__(self, axis: int = 1):
        self._axis = axis
        self.low: np.ndarray | float = np.inf
        self.high: np.ndarray | float = -np.inf

    def update(self, array: np.ndarray) -> None:
        others = tuple(place for place in range(array.ndim) if place != self._axis % array.ndim)
        self.low = np.minimum(self.low, array.min(axis=others).astype(np.float64))
        self.high = np.maximum(self.high, array.max(axis=others).astype(np.float64))
