"""Values of two numbers, as binary networks have them: which they are, and where they change.

    where(x >= 0, 1, -1)    sign(x)    2 * (x > 0) - 1    round(clip(x, 0, 1))    clip(sign(x + 0.1), -1, 1)

Frameworks export the sign of an activation in many ways. So none of them is looked for: every function of one tensor,
element by element, that has a step in it is evaluated; what has one value below some number, and another from it on, is
two-valued, and the number is found exactly, by bisection of float32. ``sign`` is 0 for 0, which counts as its upper
value here: a bit has no third.

    weights     -s, s        the same magnitude all over an output channel (XNOR-Net, Rastegari et al., 2016)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from .elementwise import apply_operator, is_function
from .graph import bindings_of, extents_of, is_constant, op_name, to_numpy
from .limits import limits_of
from .operators import MOVE, OPERATORS, WEIGHT_AXIS, is_scalar

_COMPARISONS: dict[str, Callable[..., np.ndarray]] = {
    "relax.greater": np.greater,
    "relax.greater_equal": np.greater_equal,
    "relax.less": np.less,
    "relax.less_equal": np.less_equal,
}
_STEPS = {*_COMPARISONS, "relax.sign", "relax.round", "relax.floor", "relax.ceil"}
"""Operators without which no function has a step."""

_MAGNITUDES = np.concatenate([np.logspace(-30, 30, 121), np.linspace(0.03125, 16, 512)])
_GRID = np.unique(np.concatenate([-_MAGNITUDES, _MAGNITUDES])).astype(np.float32)


@dataclass(frozen=True)
class TwoValued:
    """A value of two numbers.

    Attributes
    ----------
    root : the float value, of the same shape, that decides.
    threshold : the least float32 of the root with which it is ``high``.
    low, high : the numbers; ``low`` may be the greater one.
    """

    root: relax.Var
    threshold: float
    low: float
    high: float


@dataclass(frozen=True)
class Signs:
    """Weights of which each output channel has one magnitude: int8 of -1 and 1, and float64 ``[O]`` above 0."""

    values: np.ndarray
    scale: np.ndarray


def two_valued(mod: IRModule) -> dict[relax.Var, TwoValued]:
    """Return the values of a float module, or of the float parts of another, that have two numbers."""
    return _Finder(mod).found


def signs_of(weight: np.ndarray, axis: int) -> Signs | None:
    """Return float weights, with output channels along ``axis``, as signs; None where they are no such."""
    magnitudes = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64))
    if not magnitudes.size:
        return None
    scale = magnitudes[:, 0]
    if not (np.isfinite(scale).all() and (scale > 0).all() and (magnitudes == scale[:, None]).all()):
        return None
    return Signs(np.where(weight > 0, 1, -1).astype(np.int8), scale)


def binary_layers(mod: IRModule) -> set[relax.Var]:
    """Return the results of the weighted operators of a float module whose data and weights both have two values.

    Depthwise convolutions, whose sums have a few terms each, are not among them.
    """
    found = two_valued(mod)
    return {
        binding.var
        for binding in bindings_of(mod)
        if op_name(binding.value) in WEIGHT_AXIS
        and binding.value.args[0] in found
        and is_constant(binding.value.args[1])
        and is_binary(binding.value, found[binding.value.args[0]], to_numpy(binding.value.args[1]))
    }


def is_binary(call: relax.Call, data: TwoValued, weight: np.ndarray) -> bool:
    """Tell whether a weighted operator of two-valued data has a kernel of one-bit numbers."""
    if signs_of(weight, WEIGHT_AXIS[op_name(call)]) is None:
        return False
    if op_name(call) == "relax.matmul":
        return weight.ndim == 2
    if call.attrs.groups > 1 and weight.shape[1] == 1:
        return False
    # What is padded is 0, which the data must have, or be symmetric to.
    return not any(int(width) for width in call.attrs.padding) or data.low in (-data.high, 0.0)


class _Finder:
    """Walks a module once, with each value as a function of one tensor where it is one."""

    def __init__(self, mod: IRModule) -> None:
        self.found: dict[relax.Var, TwoValued] = {}
        self._values = {binding.var: binding.value for binding in bindings_of(mod)}
        self._roots: dict[relax.Var, relax.Var] = {}
        self._has_step: set[relax.Var] = set()
        for var, value in self._values.items():
            self._visit(var, value)

    def _visit(self, var: relax.Var, value: relax.Expr) -> None:
        if value in self.found:
            self.found[var] = self.found[value]
        name = op_name(value)
        row = OPERATORS.get(name)
        if row is not None and row.kind == MOVE and name != "relax.nn.pad":
            moved = self.found.get(value.args[0])
            if moved is not None:
                middle = float(np.float32((moved.low + moved.high) / 2))
                low, high = sorted((moved.low, moved.high))
                self.found[var] = TwoValued(var, middle, low, high)
            return
        tensors = _tensors(value)
        roots = {self._roots.get(tensor, tensor) for tensor in tensors}
        if len(roots) != 1 or any(extents_of(tensor) != extents_of(var) for tensor in tensors):
            return
        (root,) = roots
        self._roots[var] = root
        if name not in _STEPS and not any(tensor in self._has_step for tensor in tensors):
            return
        self._has_step.add(var)
        if str(var.ty.dtype) == "float32" and str(root.ty.dtype) == "float32":
            step = self._step(var, root)
            if step is not None:
                self.found[var] = step

    def _step(self, var: relax.Var, root: relax.Var) -> TwoValued | None:
        """Return the value as a step of its root; None where it is no such."""
        with np.errstate(all="ignore"):
            results = self._evaluate(var, {root: _GRID})
            low, high = results[0], results[-1]
            others = np.flatnonzero((results != low) & (results != high))
            if len(others) == 1:  # the zero of a sign
                results[others] = high
            changes = np.flatnonzero(results[1:] != results[:-1])
            if len(others) > 1 or len(changes) != 1 or not np.isfinite([low, high]).all():
                return None
            below, above = _GRID[changes[0]], _GRID[changes[0] + 1]
            first = _bisected(lambda x: self._evaluate(var, {root: x})[0] != low, below, above)
        return TwoValued(root, float(first), float(low), float(high))

    def _evaluate(self, expr: relax.Expr, known: Mapping[relax.Var, np.ndarray]) -> np.ndarray:
        """Return a function's values in float32."""
        if isinstance(expr, relax.Var) and expr in known:
            return known[expr]
        if is_constant(expr):
            return to_numpy(expr).reshape(())
        call = self._values[expr]
        name = op_name(call)
        if name == "relax.astype":
            return self._evaluate(call.args[0], known).astype(str(call.attrs.dtype))
        operands = [self._evaluate(argument, known) for argument in _operands(call)]
        if name in _COMPARISONS:
            return _COMPARISONS[name](*operands)
        if name == "relax.where":
            return np.where(*operands)
        return np.asarray(apply_operator(call, *operands), np.float32)


def _operands(call: relax.Call) -> list[relax.Expr]:
    return list(call.args[:1] if limits_of(call) is not None else call.args)


def _tensors(value: relax.Expr) -> list[relax.Var]:
    """Return the tensors of which a value is a function, element by element; none where it is no such function."""
    known = op_name(value) in {*_COMPARISONS, "relax.where", "relax.astype"}
    if not known and not is_function(value):
        return []
    operands = _operands(value)
    tensors = [operand for operand in operands if isinstance(operand, relax.Var)]
    others = [operand for operand in operands if not isinstance(operand, relax.Var)]
    return tensors if all(is_constant(other) and is_scalar(other) for other in others) else []


def _bisected(reaches: Callable[[np.ndarray], bool], below: np.float32, above: np.float32) -> np.float32:
    """Return the least float32 in ``(below, above]`` that reaches; ``above`` does and ``below`` does not."""
    low, high = _ordered(below), _ordered(above)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(_number(middle)) else (middle, high)
    return _number(high)[0]


def _ordered(number: np.float32) -> int:
    """Return an integer for each float32, in their order; both zeros are 0."""
    bits = int(np.array(number, np.float32).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _number(place: int) -> np.ndarray:
    """Return the float32 of an integer of ``_ordered``, ``[1]``."""
    magnitude = np.array([abs(place)], np.int32).view(np.float32)
    return magnitude if place >= 0 else -magnitude
