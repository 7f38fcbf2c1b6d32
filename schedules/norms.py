"""Normalizations of rows, a row at a time in whole vectors, in float32 whatever the type of the numbers.

x  --(pad)-->  vectors  --(sum)-->  mean      centred = vectors - mean  --(sum of squares)-->  factor
               result = centred * factor * gamma + beta,   factor = 1 / sqrt(sum / N + epsilon)

The squares are those of numbers around their mean: the mean square less the squared mean would lose all digits where
the mean is large. RMS normalization has no mean, and takes the numbers as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import relax, te, tirx

from ..passes.hub.graph import constant, dtype_of, is_constant, op_name, shape_of, to_numpy
from ..passes.hub.op_patterns import OUT_ELEMWISE_FUSABLE
from ..passes.hub.packing import ceil_div
from ..passes.realize.compute.annotations import ROWS

VECTORS = 4
"""Registers that add up a row side by side: an addition takes about as many cycles as there are of them."""


@dataclass(frozen=True)
class Norm:
    """How rows are normalized.

    Attributes
    ----------
    lead : how many leading axes number the rows; the others lie within a row.
    epsilon : is added to the mean of the squares.
    is_centred : the mean is taken off first.
    """

    lead: int
    epsilon: float
    is_centred: bool


def normalized(
    data: te.Tensor, gamma: te.Tensor, beta: te.Tensor | None, *, norm: Norm, lanes: int
) -> te.Tensor:
    """Return the normalized rows of float32 ``data``.

    Parameters
    ----------
    gamma, beta : float32, of the last axes of ``data``: each of its extent, or 1.
    lanes : numbers in a vector register.
    """
    shape = [int(extent) for extent in data.shape]
    lead, extents, attrs = shape[: norm.lead], shape[norm.lead :], {ROWS: norm.lead}
    length = math.prod(extents)
    width = min(VECTORS, ceil_div(length, lanes)) * lanes if lanes > 1 else 1
    groups = ceil_div(length, width)
    is_whole = length % width == 0
    share, zero = tirx.const(1 / length, "float32"), tirx.const(0, "float32")

    def vector(*index: tirx.Expr) -> tirx.Expr:
        *row, group, lane = index
        place = group * width + lane
        value = data(*row, *_unflattened(place, extents))
        return value if is_whole else tirx.if_then_else(place < length, value, zero)

    vectors = te.compute((*lead, groups, width), vector, name="vectors", attrs=attrs)
    if norm.is_centred:
        total = _sum(vectors, lambda value: value, norm.lead, lanes, "total")

        def distance(*index: tirx.Expr) -> tirx.Expr:
            *row, group, lane = index
            value = vectors(*index) - total(*row) * share
            return value if is_whole else tirx.if_then_else(group * width + lane < length, value, zero)

        vectors = te.compute(vectors.shape, distance, name="centred", attrs=attrs)
    squares = _sum(vectors, lambda value: value * value, norm.lead, lanes, "squares")
    epsilon = tirx.const(norm.epsilon, "float32")
    factor = te.compute(
        tuple(lead),
        lambda *row: tirx.const(1, "float32") / te.sqrt(squares(*row) * share + epsilon),
        name="factor",
        attrs=attrs,
    )

    def result(*index: tirx.Expr) -> tirx.Expr:
        row, inner = index[: norm.lead], index[norm.lead :]
        place = _flattened(inner, extents)
        value = vectors(*row, place // width, place % width) * factor(*row) * _weight(gamma, index)
        return value if beta is None else value + _weight(beta, index)

    return te.compute(tuple(shape), result, name="result", attrs=attrs)


def _sum(
    vectors: te.Tensor, term: Callable[[tirx.Expr], tirx.Expr], lead: int, lanes: int, name: str
) -> te.Tensor:
    """Return the sum of each row's terms: each lane its own part first, then registers, then the lanes of one."""
    *rows, groups, width = (int(extent) for extent in vectors.shape)
    attrs = {ROWS: lead}
    group = te.reduce_axis((0, groups), "group")
    parts = te.compute(
        (*rows, width),
        lambda *index: te.sum(term(vectors(*index[:-1], group, index[-1])), axis=[group]),
        name=f"{name}_by_lane",
        attrs=attrs,
    )
    if width > lanes:
        register = te.reduce_axis((0, width // lanes), "register")
        wide = parts
        parts = te.compute(
            (*rows, lanes),
            lambda *index: te.sum(wide(*index[:-1], register * lanes + index[-1]), axis=[register]),
            name=f"{name}_by_register",
            attrs=attrs,
        )
    lane = te.reduce_axis((0, int(parts.shape[-1])), "lane")
    return te.compute(
        tuple(rows), lambda *row: te.sum(parts(*row, lane), axis=[lane]), name=name, attrs=attrs
    )


def _unflattened(place: tirx.Expr, extents: Sequence[int]) -> list[tirx.Expr]:
    """Return the index of a place in a row, by its axes."""
    index: list[tirx.Expr] = []
    for extent in reversed(extents[1:]):
        index.insert(0, place % extent)
        place = place // extent
    return [place, *index]


def _flattened(index: Sequence[tirx.Expr], extents: Sequence[int]) -> tirx.Expr:
    place, *rest = index
    for value, extent in zip(rest, extents[1:], strict=True):
        place = place * extent + value
    return place


def _weight(weight: te.Tensor, index: Sequence[tirx.Expr]) -> tirx.Expr:
    """Return the weight of an element, of the last axes of its index."""
    places = index[len(index) - len(weight.shape) :]
    return weight(
        *(place if int(extent) > 1 else 0 for place, extent in zip(places, weight.shape, strict=True))
    )


def legalize_norm(builder: relax.BlockBuilder, call: relax.Call, *, lanes: int) -> relax.Expr:
    """Legalize ``relax.nn.layer_norm`` or ``relax.nn.rms_norm`` of the last axes; others as TVM does it."""
    data, *weights = call.args
    shape = shape_of(data)
    axes = sorted(int(axis) % len(shape) for axis in call.attrs.axes)
    if axes != list(range(len(shape) - len(axes), len(shape))) or 0 in shape:
        return _stock(builder, call)
    is_centred = op_name(call) == "relax.nn.layer_norm"
    return _kernel(builder, call, data, weights, Norm(axes[0], float(call.attrs.epsilon), is_centred), lanes)


def legalize_group_norm(builder: relax.BlockBuilder, call: relax.Call, *, lanes: int) -> relax.Expr:
    """Legalize ``relax.nn.group_norm`` of NCHW: a group's channels and what they hold are a row."""
    data, *weights = call.args
    attrs, shape = call.attrs, shape_of(data)
    is_image = [int(axis) for axis in attrs.axes] == list(range(2, len(shape)))
    if attrs.channel_axis != 1 or not is_image or 0 in shape:
        return _stock(builder, call)
    groups = int(attrs.num_groups)
    rows = (shape[0], groups, shape[1] // groups, math.prod(shape[2:]))
    weights = [_reshaped(builder, weight, (*rows[1:3], 1)) for weight in weights]
    norm = Norm(2, float(attrs.epsilon), is_centred=True)
    result = _kernel(builder, call, _reshaped(builder, data, rows), weights, norm, lanes)
    return relax.op.reshape(builder.emit(result), shape)


def _stock(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    from tvm.ir import Op

    return Op.get(op_name(call)).get_attr("FLegalize")(builder, call)


def _reshaped(builder: relax.BlockBuilder, value: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
    if is_constant(value):
        return constant(to_numpy(value).reshape(shape))
    return builder.emit(relax.op.reshape(value, shape))


def _in_float32(builder: relax.BlockBuilder, value: relax.Expr) -> relax.Expr:
    if is_constant(value):
        return constant(to_numpy(value).astype("float32"))
    return value if dtype_of(value) == "float32" else builder.emit(relax.op.astype(value, "float32"))


def _kernel(
    builder: relax.BlockBuilder,
    call: relax.Call,
    data: relax.Expr,
    weights: Sequence[relax.Expr],
    norm: Norm,
    lanes: int,
) -> relax.Expr:
    def define(data: te.Tensor, gamma: te.Tensor, beta: te.Tensor | None = None) -> te.Tensor:
        return normalized(data, gamma, beta, norm=norm, lanes=lanes)

    kernel = builder.call_te(
        define,
        *(_in_float32(builder, value) for value in (data, *weights)),
        primfunc_name_hint=op_name(call).split(".")[-1],
        primfunc_attrs={"op_pattern": OUT_ELEMWISE_FUSABLE},
    )
    dtype = dtype_of(call)
    return kernel if dtype == "float32" else relax.op.astype(builder.emit(kernel), dtype)
