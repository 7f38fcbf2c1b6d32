"""Softmax along the last axis, a row at a time in whole vectors.

x  --(pad)-->  vectors  --(max)-->  most
               power = exp(vectors - most)  --(sum)-->  total        result = power / total
"""

from __future__ import annotations

import math

from tvm import te, tirx, topi

from ..passes.hub.packing import ceil_div
from ..passes.realize.compute.annotations import ROWS

LEAST = -87.0
"""The least exponent whose power of e is a normal float32."""


def softmax(data: te.Tensor, lanes: int, any_extent: bool = False) -> te.Tensor:
    """Return ``exp(data - max) / sum`` of float32 ``(..., N)``; its exponential is off by 3e-7 of its value at most.

    ``any_extent`` says that the shape is a sample of any.
    """
    *lead, length = (int(extent) for extent in data.shape)
    groups, attrs = ceil_div(length, lanes), {ROWS: len(lead)}

    def vector(*index: tirx.Expr) -> tirx.Expr:
        *row, group, lane = index
        place = group * lanes + lane
        value = data(*row, place)
        if length % lanes == 0 and not any_extent:
            return value
        return tirx.if_then_else(place < length, value, tirx.const(-math.inf, "float32"))

    def over(tensor: te.Tensor, reduce: te.CommReducer, name: str) -> te.Tensor:
        """Return a row's numbers as one: each lane its own part first, then the lanes."""
        group, lane = te.reduce_axis((0, groups), "group"), te.reduce_axis((0, lanes), "lane")
        parts = te.compute(
            (*lead, lanes),
            lambda *index: reduce(tensor(*index[:-1], group, index[-1]), axis=[group]),
            name=f"{name}_by_lane",
            attrs=attrs,
        )
        return te.compute(
            tuple(lead), lambda *row: reduce(parts(*row, lane), axis=[lane]), name=name, attrs=attrs
        )

    vectors = te.compute((*lead, groups, lanes), vector, name="vectors", attrs=attrs)
    most = over(vectors, te.max, "most")
    # Limited so that no power is a denormal number, which takes a hundred times as long; a NaN stays one.
    distance = te.compute(
        vectors.shape,
        lambda *index: tirx.max(tirx.const(LEAST, "float32"), vectors(*index) - most(*index[:-2])),
        name="distance",
    )
    power = topi.fast_exp(distance)
    total = over(power, te.sum, "total")
    share = te.compute(
        tuple(lead), lambda *row: tirx.const(1, "float32") / total(*row), name="share", attrs=attrs
    )
    return te.compute(
        (*lead, length),
        lambda *index: power(*index[:-1], index[-1] // lanes, index[-1] % lanes) * share(*index[:-1]),
        name="result",
        attrs=attrs,
    )
