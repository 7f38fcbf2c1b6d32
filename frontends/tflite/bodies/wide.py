"""Products of 16-bit data and 8-bit weights, whose sums are int64 (``passes.realize.compute.wide_sums``)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....passes.hub.fixed_point import quantized_multiplier
from ..body import OperatorBody
from ..own_operators import DOMAIN
from ..requantization import ratios_of
from .exact import expect, integer_limits, same_padding


def is_wide(body: OperatorBody, data: str) -> bool:
    """Tell whether an operator is to be exact on data of 16 bits."""
    return body.is_exact(data) and body.stored[data].dtype == "int16"


def wide_convolution(
    body: OperatorBody, data: str, weight: str, order: Sequence[int], bias: str, groups: int, is_same: bool,
    strides: Sequence[int], dilations: Sequence[int], function: int,
) -> str:  # fmt: skip
    """Write a product of 16-bit images and 8-bit weights.

    ``order`` brings their axes to (O, C // groups, KH, KW), or (O, K) of rows, whose kernel is another: it has
    multipliers of 32 bits.
    """
    expect(body, data, dtypes=("int16",))
    values, own = body.known(weight, "weight"), body.stored[weight].quantization
    if values.dtype != np.int8 or own is None or any(own.zero_point):
        raise ValueError("its weight is no constant of int8 without zero points")
    filters = np.ascontiguousarray(values.transpose(order))
    of_rows = filters.ndim == 2
    if of_rows:
        filters = filters[:, :, None, None]
    offset = body.known(bias, "bias") if bias else np.zeros(len(filters), np.int64)
    if offset.dtype != np.int64:
        raise ValueError(
            f"its bias is {offset.dtype}; with data of 16 bits exact integers are known for int64"
        )
    quantizations = body.stored[data].quantization, own, body.results[0].quantization
    ratios = ratios_of(*quantizations, len(filters), in_float32=of_rows and len(own.scale) == 1)
    multipliers, shifts = map(list, zip(*map(quantized_multiplier, ratios), strict=True))
    if of_rows:
        largest = 2**15 * np.abs(filters.astype(np.int64)).sum(axis=(1, 2, 3)) + np.abs(offset)
        if largest.max(initial=0) >= 2**31:
            raise ValueError(
                "its sums can leave int32, and with data of 16 bits its exact integers are not known then"
            )
    else:
        multipliers = [(each + 2**15) >> 16 if each < 0x7FFF0000 else 0x7FFF for each in multipliers]
    pads = [
        same_padding(*each) if is_same else (0, 0)
        for each in zip(body.shapes[data][1:3], filters.shape[2:], strides, dilations, strict=True)
    ]
    low, high = integer_limits(body.results[0], function)
    constants = (
        body.constant(filters, "int8"),
        *(body.constant(each) for each in (offset, multipliers, shifts)),
    )
    return body(
        f"{DOMAIN}.WideConv", data, *constants, domain=DOMAIN, strides=strides, dilations=dilations, group=groups,
        pads=[end for ends in zip(*pads, strict=True) for end in ends], lower=low, upper=high,
        bits=31 if of_rows else 15,
    )  # fmt: skip


def wide_product(body: OperatorBody, data: str, weight: str, bias: str, function: int) -> str:
    """Write a product of rows of 16 bits and 8-bit weights ``[O, K]``: images of one pixel, ``[R, 1, 1, O]``."""
    depth, stored = body.shapes[weight][1], body.stored[data]
    count = math.prod(body.shapes[data]) // depth
    rows = body.describe(body.reshape(data, count, 1, 1, depth), (count, 1, 1, depth), stored.dtype)
    body.stored[rows] = stored
    return wide_convolution(body, rows, weight, (0, 1), bias, 1, False, (1, 1), (1, 1), function)
