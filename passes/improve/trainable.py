"""A part of a Q/DQ module that runs forwards and backwards on many samples at once, with quantizers that learn.

    dequantize(quantize(x, s, z), s, z)        -->  LearnedStep
    dequantize(quantize(w + offset, s, 0))     -->  LearnedWeights
    conv2d, matmul                             -->  their rule, with a LearnedShift behind

Values are float32 and ``[N, H, W, C]`` where they are images in the module.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import (
    activations,
    bindings_of,
    is_constant,
    layer_name,
    op_name,
    results_of,
    shape_of,
    to_numpy,
)
from ..hub.pairs import ActivationPair, WeightPair, activation_pairs, transparent, weight_pairs
from .backward import Arrays, Rule, Weighted, rule_of
from .learned import LearnedShift, LearnedStep, LearnedWeights, Parameter, Rates


class NoRule(Exception):
    """An operator has no rule; the message says which."""


@dataclass(frozen=True)
class _Node:
    """The rule that gives ``result`` from ``operands``."""

    rule: Rule
    operands: tuple[relax.Expr, ...]
    result: relax.Var


class _Fixed:
    """Weights as they are."""

    def __init__(self, values: np.ndarray):
        self._values = values

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        return self._values

    def backward(self, gradient: np.ndarray) -> Arrays:
        return ()


class _Same:
    """Another name of a value."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0]

    def backward(self, gradient: np.ndarray) -> Arrays:
        return (gradient,)


class _Constant:
    """A weighted operator with constant weights."""

    def __init__(self, rule: Weighted, weight: np.ndarray):
        self._rule, self._weight = rule, weight

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        return self._rule.forward(*operands, self._weight)

    def backward(self, gradient: np.ndarray) -> Arrays:
        return (self._rule.to_data(gradient),)


class Trainable:
    """The module's function on batches.

    Attributes
    ----------
    weights, steps, shifts : the quantizers that learn, by the name of the pair; for a shift it is that of the
        weights, of which each reader has one.

    Raises
    ------
    NoRule : an operator cannot be run backwards.
    """

    def __init__(
        self,
        part: IRModule,
        learns: Container[relax.Var] = (),
        rates: Rates | None = None,
        rng: np.random.Generator | None = None,
        samples: int = 1,
    ):
        """``learns`` has the ``dequantize`` of each pair that learns, from so many ``samples``."""
        self.weights: dict[str, LearnedWeights] = {}
        self.steps: dict[str, LearnedStep] = {}
        self.shifts: dict[str, list[LearnedShift]] = {}
        self._learns, self._rates, self._samples = learns, rates or Rates(), samples
        self._rng = rng or np.random.default_rng(0)
        self._inputs = list(part["main"].params)
        self._nodes: list[_Node] = []
        self._weight_pairs = {pair.dequantize: pair for pair in weight_pairs(part)}
        steps = {pair.dequantize: pair for pair in activation_pairs(part)}
        inner = transparent(part)
        for binding in bindings_of(part):
            var, value = binding.var, binding.value
            if var in self._weight_pairs:
                self._nodes.append(_Node(self._weights(self._weight_pairs[var]), (), var))
            elif var in steps:
                self._nodes.append(_Node(self._step(steps[var]), (steps[var].source,), var))
            elif var not in inner and not isinstance(var.ty, relax.TupleType):
                self._nodes.append(_Node(self._operator(value), tuple(activations(value)), var))
        self._outputs = results_of(part)

    @property
    def arity(self) -> int:
        """How many arrays ``forward`` takes."""
        return len(self._inputs)

    @property
    def parameters(self) -> list[Parameter]:
        shifts = [shift for group in self.shifts.values() for shift in group]
        learned: list[LearnedWeights | LearnedStep | LearnedShift] = [
            *self.weights.values(),
            *self.steps.values(),
            *shifts,
        ]
        return [parameter for item in learned for parameter in item.parameters]

    def forward(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the results for arrays of the function's parameters, in their order."""
        values: dict[relax.Expr, np.ndarray] = dict(zip(self._inputs, inputs, strict=True))
        for node in self._nodes:
            values[node.result] = node.rule.forward(*(values[operand] for operand in node.operands))
        return [values[output] for output in self._outputs]

    def backward(self, gradients: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """Return the gradients of the inputs from those of the results of the last ``forward``; None stands for 0.

        What follows from them for each parameter is added to its gradient.
        """
        found: dict[relax.Expr, np.ndarray | None] = {}
        for output, gradient in zip(self._outputs, gradients, strict=True):
            found[output] = _sum(found.get(output), gradient)
        for node in reversed(self._nodes):
            gradient = found.pop(node.result, None)
            if gradient is None:
                continue
            for operand, share in zip(node.operands, node.rule.backward(gradient), strict=True):
                found[operand] = _sum(found.get(operand), share)
        return [found.get(parameter) for parameter in self._inputs]

    def _weights(self, pair: WeightPair) -> Rule:
        if pair.dequantize not in self._learns:
            return _Fixed(pair.restored.astype(np.float32))
        rate = self._rates.of_places(pair, self._samples)
        self.weights[pair.name] = LearnedWeights(pair, rate, self._rates.weight_scales)
        return self.weights[pair.name]

    def _step(self, pair: ActivationPair) -> Rule:
        step = LearnedStep(pair, self._rates.steps, self._rng)
        if pair.dequantize in self._learns:
            self.steps[pair.name] = step
        return step

    def _operator(self, call: relax.Expr) -> Rule:
        if isinstance(call, relax.Var):
            return _Same()
        rule = rule_of(call)
        if rule is None:
            raise NoRule(f"{op_name(call).removeprefix('relax.')} of layer {layer_name(call)!r}")
        if not isinstance(rule, Weighted):
            return rule
        if is_constant(call.args[1]):
            return _Constant(rule, to_numpy(call.args[1]))
        pair = self._weight_pairs.get(call.args[1])
        if pair is None:
            raise NoRule(f"computed weights of layer {layer_name(call)!r}")
        if pair.name not in self.weights:
            return rule
        channels = shape_of(call.args[1])[pair.axis]
        shift = LearnedShift(rule, channels, self._rates.shifts)
        self.shifts.setdefault(pair.name, []).append(shift)
        return shift


def _sum(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Return the sum of two gradients, of which None stands for 0."""
    if one is None or other is None:
        return one if other is None else other
    return one + other


class Through:
    """A block seen through what follows it: its last results go into a function that does not learn.

    Attributes
    ----------
    steps, parameters : those of the block.
    """

    def __init__(self, block: Trainable, behind: Trainable):
        self._block, self._behind = block, behind
        self.steps, self.parameters = block.steps, block.parameters

    def forward(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the block's results and then the function's, for arrays of the block's parameters."""
        results = self._block.forward(inputs)
        self._own = len(results)
        return [*results, *self._behind.forward(results[-self._behind.arity :])]

    def backward(self, gradients: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """As ``Trainable.backward``."""
        own = list(gradients[: self._own])
        shares = self._behind.backward(gradients[self._own :])
        for place, share in enumerate(shares, self._own - len(shares)):
            own[place] = _sum(own[place], share)
        return self._block.backward(own)
