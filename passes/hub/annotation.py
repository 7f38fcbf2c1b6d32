"""What ``Annotate`` leaves in a module: its scheme, and pairs whose scales are NaN until they are calibrated."""

from __future__ import annotations

import json

import numpy as np
from tvm import IRModule, relax

from ...targets.row import LaneSums
from .graph import bindings_of, is_constant, op_name, to_numpy
from .schemes import Scheme

SCHEME_ATTRIBUTE = "tvmq.scheme"
"""Module attribute: the scheme's fields as JSON, with the user's and the target's choices in them."""


def has_pairs(mod: IRModule) -> bool:
    """Tell whether the module is quantized already, wholly or in part."""
    return any(
        op_name(binding.value) in ("relax.quantize", "relax.dequantize") for binding in bindings_of(mod)
    )


def is_unknown(value: relax.Expr) -> bool:
    """Tell whether the value is half of a pair whose scale is still unknown."""
    if op_name(value) not in ("relax.quantize", "relax.dequantize") or not is_constant(value.args[1]):
        return False
    return bool(np.isnan(to_numpy(value.args[1])).any())


def scheme_of(mod: IRModule) -> Scheme | None:
    """Return the scheme that ``Annotate`` used; None where the module came quantized."""
    if mod.attrs is None or SCHEME_ATTRIBUTE not in mod.attrs:
        return None
    record = json.loads(str(mod.attrs[SCHEME_ATTRIBUTE]))
    sums = record.pop("lane_sums")
    return Scheme(**record, lane_sums=None if sums is None else LaneSums(**sums))
