"""Requantization by an int32 multiplier and a shift: the arithmetic of TFLite's reference kernels.

    scale ratio  =  multiplier * 2**(shift - 31)                     2**30 <= multiplier < 2**31
    high         =  (accumulator * 2**max(shift, 0) * multiplier + 2**30) >> 31        in int64
    result       =  high / 2**max(-shift, 0), rounded to the nearest, halves away from 0

Source: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
arXiv 1712.05877, section 2.2; ``MultiplyByQuantizedMultiplier`` of TFLite.

A module whose layers are to be computed so has them in an attribute, each with the integers that its file fixes;
``Realize`` makes those of each layer's kernel.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tvm import IRModule

ATTRIBUTE = "tvmq.fixed_point"


@dataclass(frozen=True)
class FixedPoint:
    """The integers of one layer: of each output channel.

    Attributes
    ----------
    once : the product is rounded once, halves upwards: ``(sum * multiplier + 2**(30 - shift)) >> (31 - shift)``.
    """

    bias: tuple[int, ...]
    multiplier: tuple[int, ...]
    shift: tuple[int, ...]
    once: bool = False


def quantized_multiplier(ratio: float) -> tuple[int, int]:
    """Return the multiplier and the shift for a ratio of scales, not below 0; both 0 for one too small to matter."""
    if ratio == 0.0:
        return 0, 0
    fraction, shift = math.frexp(ratio)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def multiplied(values: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Return int32 values times multipliers and shifts that broadcast against them, as int32."""
    left, right = np.maximum(shift, 0), np.maximum(np.negative(shift), 0)
    high = high_product(values.astype(np.int64) << left, multiplier)
    return rounded_shift(high, right).astype(np.int32)


def multiplied_once(values: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Return int32 values times multipliers and shifts, rounded once, halves upwards, as int32."""
    less_one = 30 - np.asarray(shift, np.int64)
    return ((((values.astype(np.int64) * multiplier) >> less_one) + 1) >> 1).astype(np.int32)


def high_product(values: np.ndarray, factor: np.ndarray | int) -> np.ndarray:
    """Return ``values * factor / 2**31``, rounded to the nearest, halves upwards; int64."""
    return (values * np.int64(factor) + 2**30) >> 31


def rounded_shift(values: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Return ``values / 2**shift`` rounded to the nearest, halves away from 0; int64."""
    half = (np.int64(1) << np.asarray(shift, np.int64)) >> 1
    below = np.where((values < 0) & (half > 0), 1, 0)
    return (values + half - below) >> shift


def with_fixed_points(mod: IRModule, layers: Mapping[str, FixedPoint]) -> IRModule:
    """Return the module with the integers of the layers that are to be computed with them, by name."""
    return mod.with_attr(ATTRIBUTE, json.dumps({name: asdict(layer) for name, layer in layers.items()}))


def fixed_points_of(mod: IRModule) -> dict[str, FixedPoint]:
    """Return the integers of the layers that are to be computed with them; empty where there are none."""
    attrs = mod.attrs
    if attrs is None or ATTRIBUTE not in attrs:
        return {}
    records = json.loads(str(attrs[ATTRIBUTE]))
    return {name: _from_record(record) for name, record in records.items()}


def _from_record(record: dict[str, Any]) -> FixedPoint:
    bias, multiplier, shift = (tuple(record[key]) for key in ("bias", "multiplier", "shift"))
    return FixedPoint(bias, multiplier, shift, record["once"])
