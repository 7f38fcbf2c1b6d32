"""The gradient of each operator's operands from that of its result.

Rules here are those of operators that TVM has none for, or whose own would be slow: operators that compare with
constants, sums over what has been broadcast, convolutions and products with weights, whose kernels are in ``kernels``.
For all others TVM's ``FPrimalGradient`` serves. Rounding passes gradients on as if it were not there (the
straight-through estimator, Bengio et al., 2013): whatever is written with ``round`` and ``clip`` has the gradients that
one writes down for quantizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax
from tvm.ir import Op

from ..hub.graph import number, op_name, shape_of
from .kernels import convolution, steps

Shares = Sequence[relax.Expr | None]


@dataclass(frozen=True)
class Backward:
    """What a rule is given.

    Attributes
    ----------
    var, call : the operator's result and the call, in terms of the function's variables.
    gradient : of the result.
    wanted : which of the operands need one.
    """

    builder: relax.BlockBuilder
    var: relax.Var
    call: relax.Call
    gradient: relax.Expr
    wanted: tuple[bool, ...]

    def emit(self, expr: relax.Expr) -> relax.Var:
        return self.builder.emit(expr)


Rule = Callable[[Backward], Shares]


def collapsed(builder: relax.BlockBuilder, gradient: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
    """Return a gradient summed up over the axes along which a value of this shape was broadcast."""
    gradient = builder.normalize(gradient)
    own = shape_of(gradient)
    if own == shape:
        return gradient
    lead = len(own) - len(shape)
    axes = [
        axis for axis, extent in enumerate(own) if axis < lead or (shape[axis - lead] == 1 and extent != 1)
    ]
    if axes:
        gradient = builder.emit(gradient)
        gradient = relax.op.sum(gradient, axes, keepdims=False)
    return relax.op.reshape(builder.emit(gradient), shape)


def _binary(left: Callable[[Backward], relax.Expr], right: Callable[[Backward], relax.Expr]) -> Rule:
    """Return the rule of an operator that broadcasts, from the gradients before sums."""

    def rule(at: Backward) -> Shares:
        return [
            collapsed(at.builder, share(at), shape_of(operand)) if wanted else None
            for share, operand, wanted in zip((left, right), at.call.args, at.wanted, strict=True)
        ]

    return rule


def _masked(at: Backward, condition: relax.Expr) -> relax.Expr:
    return relax.op.where(at.emit(condition), at.gradient, number(0.0))


def _quotient(at: Backward) -> relax.Expr:
    """Return the gradient of a divisor: ``-dy y / b``."""
    share = at.emit(relax.op.multiply(at.gradient, at.var))
    return relax.op.negative(at.emit(relax.op.divide(share, at.call.args[1])))


def _chosen(compare: Callable[..., relax.Expr]) -> Rule:
    return _binary(
        lambda at: _masked(at, compare(at.call.args[0], at.call.args[1])),
        lambda at: relax.op.subtract(at.gradient, at.emit(_masked(at, compare(*at.call.args)))),
    )


def _clip(at: Backward) -> Shares:
    low, high = (float(limit.value) for limit in at.call.args[1:])
    data = at.call.args[0]
    above = at.emit(relax.op.greater(data, number(low)))
    inside = relax.op.logical_and(above, at.emit(relax.op.less(data, number(high))))
    return [_masked(at, inside), None, None]


def _relu(at: Backward) -> Shares:
    return [_masked(at, relax.op.greater(at.call.args[0], number(0.0)))]


def _weighted(at: Backward) -> Shares:
    data, weight = at.call.args
    if op_name(at.call) == "relax.matmul" and not _by_weights(at.call):
        return _product(at)
    arguments = at.builder, at.call, data, weight, at.gradient
    return [
        convolution.data_gradient(*arguments) if at.wanted[0] else None,
        convolution.weight_gradient(*arguments) if at.wanted[1] else None,
    ]


def _by_weights(call: relax.Call) -> bool:
    return len(shape_of(call.args[1])) == 2 and len(shape_of(call.args[0])) >= 2


def _product(at: Backward) -> Shares:
    """Return the gradients of a product of two activations, whose leading axes broadcast."""
    data, other = at.call.args
    if min(len(shape_of(data)), len(shape_of(other))) < 2:
        return _stock("relax.matmul")(at)

    def turned(value: relax.Expr) -> relax.Expr:
        rank = len(shape_of(value))
        return at.emit(relax.op.permute_dims(value, [*range(rank - 2), rank - 1, rank - 2]))

    def share(make: Callable[[], relax.Expr], operand: relax.Expr) -> relax.Expr:
        return collapsed(at.builder, make(), shape_of(operand))

    return [
        share(lambda: relax.op.matmul(at.gradient, turned(other)), data) if at.wanted[0] else None,
        share(lambda: relax.op.matmul(turned(data), at.gradient), other) if at.wanted[1] else None,
    ]


def _global_mean(at: Backward, axes: Sequence[int]) -> Shares:
    data = shape_of(at.call.args[0])
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(data))
    count = math.prod(data[axis] for axis in axes)
    share = at.emit(relax.op.multiply(at.gradient, number(1.0 / count)))
    return [relax.op.broadcast_to(at.emit(relax.op.reshape(share, kept)), data)]


def _mean(at: Backward) -> Shares:
    rank, axes = len(shape_of(at.call.args[0])), at.call.attrs.axis
    return _global_mean(at, range(rank) if axes is None else [int(axis) % rank for axis in axes])


def _adaptive_pool(at: Backward) -> Shares:
    if [int(extent) for extent in at.call.attrs.output_size] != [1, 1]:
        return _stock(op_name(at.call))(at)
    return _global_mean(at, [1, 2] if at.call.attrs.layout == "NHWC" else [2, 3])


def _moved_sum(at: Backward) -> Shares:
    data, axes = shape_of(at.call.args[0]), at.call.attrs.axis
    axes = range(len(data)) if axes is None else [int(axis) % len(data) for axis in axes]
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(data))
    return [relax.op.broadcast_to(at.emit(relax.op.reshape(at.gradient, kept)), data)]


def _concat(at: Backward) -> Shares:
    axis = int(at.call.attrs.axis) % len(shape_of(at.var))
    start, shares = 0, []
    for field, wanted in zip(at.call.args[0].fields, at.wanted, strict=True):
        end = start + shape_of(field)[axis]
        shares.append(relax.op.strided_slice(at.gradient, [axis], [start], [end]) if wanted else None)
        start = end
    return shares


def _pad(at: Backward) -> Shares:
    widths = [int(width) for width in at.call.attrs.pad_width]
    data = shape_of(at.call.args[0])
    starts = widths[::2]
    ends = [start + extent for start, extent in zip(starts, data, strict=True)]
    return [relax.op.strided_slice(at.gradient, list(range(len(data))), starts, ends)]


def _slice(at: Backward) -> Shares:
    """Return the gradient of what was sliced: that of the slice in its places, and zeros between and around them."""
    data = shape_of(at.call.args[0])
    axes, begins, _, *strides = ([int(value) for value in _values(arg)] for arg in at.call.args[1:])
    gradient = at.gradient
    for place, axis in enumerate(axes):
        step = strides[0][place] if strides else 1
        if step < 0:
            raise NotImplementedError
        axis, extent = axis % len(data), data[axis]
        begin = min(max(begins[place] + extent if begins[place] < 0 else begins[place], 0), extent)
        gradient = _spread(at, gradient, axis, step, begin, extent)
    return [gradient, *[None] * (len(at.call.args) - 1)]


def _spread(at: Backward, gradient: relax.Expr, axis: int, step: int, begin: int, extent: int) -> relax.Expr:
    """Return a gradient with ``step - 1`` zeros behind each place of an axis, from ``begin`` of ``extent`` on."""
    shape = list(shape_of(at.builder.normalize(gradient)))
    if step > 1:
        apart = at.emit(relax.op.reshape(gradient, [*shape[: axis + 1], 1, *shape[axis + 1 :]]))
        widths = [0] * (2 * len(shape) + 2)
        widths[2 * axis + 3] = step - 1
        shape[axis] *= step
        gradient = at.emit(relax.op.reshape(at.emit(relax.op.nn.pad(apart, widths)), shape))
        if begin + shape[axis] > extent:
            shape[axis] = extent - begin
            gradient = at.emit(relax.op.strided_slice(gradient, [axis], [0], [shape[axis]]))
    widths = [0] * (2 * len(shape))
    widths[2 * axis], widths[2 * axis + 1] = begin, extent - begin - shape[axis]
    return at.emit(relax.op.nn.pad(gradient, widths)) if any(widths) else gradient


def _values(argument: relax.Expr) -> Sequence[Any]:
    return argument.fields if isinstance(argument, relax.Tuple) else argument.values


def _straight_through(at: Backward) -> Shares:
    return [at.gradient]


def _layer_norm(at: Backward) -> Shares:
    """Return the gradients of data, scale and shift of a layer norm.

    With n = (x - mean) / deviation and g = dy scale:  dx = (g - mean g - n mean (g n)) / deviation.
    """
    data, scale, _ = at.call.args
    rank = len(shape_of(data))
    axes = [int(axis) % rank for axis in at.call.attrs.axes]
    mean = at.emit(relax.op.mean(data, axes, keepdims=True))
    centred = at.emit(relax.op.subtract(data, mean))
    square = at.emit(relax.op.mean(at.emit(relax.op.multiply(centred, centred)), axes, keepdims=True))
    inverse = at.emit(relax.op.rsqrt(at.emit(relax.op.add(square, number(float(at.call.attrs.epsilon))))))
    normed = at.emit(relax.op.multiply(centred, inverse))
    scaled = at.emit(relax.op.multiply(at.gradient, scale))
    first = at.emit(relax.op.mean(scaled, axes, keepdims=True))
    second = at.emit(relax.op.mean(at.emit(relax.op.multiply(scaled, normed)), axes, keepdims=True))
    inner = at.emit(relax.op.subtract(scaled, first))
    inner = at.emit(relax.op.subtract(inner, at.emit(relax.op.multiply(normed, second))))
    shape = shape_of(scale)
    return [
        relax.op.multiply(inner, inverse) if at.wanted[0] else None,
        collapsed(at.builder, relax.op.multiply(at.gradient, normed), shape) if at.wanted[1] else None,
        collapsed(at.builder, at.gradient, shape) if at.wanted[2] else None,
    ]


def _rms_norm(at: Backward) -> Shares:
    """Return the gradients of data and scale of a norm without a mean."""
    data, scale = at.call.args
    rank = len(shape_of(data))
    axes = [int(axis) % rank for axis in at.call.attrs.axes]
    square = at.emit(relax.op.mean(at.emit(relax.op.multiply(data, data)), axes, keepdims=True))
    inverse = at.emit(relax.op.rsqrt(at.emit(relax.op.add(square, number(float(at.call.attrs.epsilon))))))
    normed = at.emit(relax.op.multiply(data, inverse))
    scaled = at.emit(relax.op.multiply(at.gradient, scale))
    second = at.emit(relax.op.mean(at.emit(relax.op.multiply(scaled, normed)), axes, keepdims=True))
    inner = at.emit(relax.op.subtract(scaled, at.emit(relax.op.multiply(normed, second))))
    return [
        relax.op.multiply(inner, inverse) if at.wanted[0] else None,
        collapsed(at.builder, relax.op.multiply(at.gradient, normed), shape_of(scale))
        if at.wanted[1]
        else None,
    ]


def _gelu(at: Backward) -> Shares:
    """Return ``dy (P(x) + x p(x))``, P the normal distribution and p its density."""
    data = at.call.args[0]
    bell = at.emit(
        relax.op.exp(at.emit(relax.op.multiply(at.emit(relax.op.multiply(data, data)), number(-0.5))))
    )
    density = at.emit(relax.op.multiply(bell, number(1.0 / math.sqrt(2.0 * math.pi))))
    error = at.emit(relax.op.erf(at.emit(relax.op.multiply(data, number(math.sqrt(0.5))))))
    share = at.emit(relax.op.multiply(at.emit(relax.op.add(error, number(1.0))), number(0.5)))
    slope = at.emit(relax.op.add(share, at.emit(relax.op.multiply(data, density))))
    return [relax.op.multiply(at.gradient, slope)]


def _gelu_tanh(at: Backward) -> Shares:
    """Return the gradient of ``x (1 + tanh u) / 2``, u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    data = at.call.args[0]
    square = at.emit(relax.op.multiply(data, data))
    root = math.sqrt(2.0 / math.pi)
    inner = at.emit(relax.op.add(number(root), at.emit(relax.op.multiply(square, number(0.044715 * root)))))
    bent = at.emit(relax.op.tanh(at.emit(relax.op.multiply(data, inner))))
    slope = at.emit(
        relax.op.add(number(root), at.emit(relax.op.multiply(square, number(3 * 0.044715 * root))))
    )
    rest = at.emit(relax.op.subtract(number(1.0), at.emit(relax.op.multiply(bent, bent))))
    inside = at.emit(relax.op.multiply(at.emit(relax.op.multiply(data, rest)), slope))
    total = at.emit(relax.op.add(at.emit(relax.op.add(bent, number(1.0))), inside))
    return [relax.op.multiply(at.gradient, at.emit(relax.op.multiply(total, number(0.5))))]


def _rsqrt(at: Backward) -> Shares:
    cube = at.emit(relax.op.multiply(at.var, at.emit(relax.op.multiply(at.var, at.var))))
    return [relax.op.multiply(at.gradient, at.emit(relax.op.multiply(cube, number(-0.5))))]


def _erf(at: Backward) -> Shares:
    data = at.call.args[0]
    bell = at.emit(relax.op.exp(at.emit(relax.op.negative(at.emit(relax.op.multiply(data, data))))))
    return [
        relax.op.multiply(at.gradient, at.emit(relax.op.multiply(bell, number(2.0 / math.sqrt(math.pi)))))
    ]


def _leaky(at: Backward) -> Shares:
    slope = relax.op.multiply(at.gradient, number(float(at.call.attrs.alpha)))
    positive = at.emit(relax.op.greater(at.call.args[0], number(0.0)))
    return [relax.op.where(positive, at.gradient, at.emit(slope))]


def _extreme(at: Backward) -> Shares:
    """Return the gradient of a largest or smallest value: to wherever it is."""
    data, axes = at.call.args[0], at.call.attrs.axis
    shape = shape_of(data)
    axes = range(len(shape)) if axes is None else [int(axis) % len(shape) for axis in axes]
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    result, gradient = (at.emit(relax.op.reshape(value, kept)) for value in (at.var, at.gradient))
    return [relax.op.where(at.emit(relax.op.equal(data, result)), gradient, number(0.0))]


def _without(at: Backward) -> Shares:
    """Return none: the result is the same wherever the operands move a little."""
    return [None] * len(at.wanted)


def _stock(name: str) -> Rule:
    primal = Op.get(name).get_attr("FPrimalGradient")
    if primal is None:
        raise NotImplementedError

    def rule(at: Backward) -> Shares:
        gradient = at.gradient if isinstance(at.gradient, relax.Var) else at.emit(at.gradient)
        return [*primal(at.var, at.call, gradient, at.builder)]

    return rule


RULES: dict[str, Rule] = {
    "relax.add": _binary(lambda at: at.gradient, lambda at: at.gradient),
    "relax.subtract": _binary(lambda at: at.gradient, lambda at: relax.op.negative(at.gradient)),
    "relax.multiply": _binary(
        lambda at: relax.op.multiply(at.gradient, at.call.args[1]),
        lambda at: relax.op.multiply(at.gradient, at.call.args[0]),
    ),
    "relax.divide": _binary(lambda at: relax.op.divide(at.gradient, at.call.args[1]), _quotient),
    "relax.maximum": _chosen(relax.op.greater),
    "relax.minimum": _chosen(relax.op.less),
    "relax.round": _straight_through,
    "relax.clip": _clip,
    "relax.nn.relu": _relu,
    "relax.nn.leakyrelu": _leaky,
    "relax.nn.conv2d": _weighted,
    "relax.matmul": _weighted,
    "relax.mean": _mean,
    "relax.nn.adaptive_avg_pool2d": _adaptive_pool,
    "relax.sum": _moved_sum,
    "relax.max": _extreme,
    "relax.min": _extreme,
    "relax.concat": _concat,
    "relax.nn.pad": _pad,
    "relax.strided_slice": _slice,
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.rms_norm": _rms_norm,
    "relax.nn.gelu": _gelu,
    "relax.nn.gelu_tanh": _gelu_tanh,
    "relax.rsqrt": _rsqrt,
    "relax.erf": _erf,
    **dict.fromkeys(("relax.sign", "relax.floor", "relax.ceil"), _without),
}
"""Rules of our own."""


def rule_of(call: relax.Expr) -> Rule:
    """Return the rule of a call; it raises ``NotImplementedError``, and so may the rule, where there is none."""
    name = op_name(call)
    if name == "relax.call_tir" and steps.is_step(call):
        return steps.rule
    if name in RULES:
        return RULES[name]
    if not name or name == "relax.call_tir":
        raise NotImplementedError
    return _stock(name)
