"""relu and clip: what they limit their input to.

relu(x) = max(x, 0)        clip(x, a, b) = min(max(x, a), b)
"""

from __future__ import annotations

import math

from tvm import relax

from .graph import op_name

_FIXED = {"relax.nn.relu": (0.0, math.inf), "relax.nn.relu6": (0.0, 6.0)}


def limits_of(call: relax.Expr) -> tuple[float, float] | None:
    """Return what the operator limits its input to; None where it does anything else."""
    name = op_name(call)
    if name in _FIXED:
        return _FIXED[name]
    if name == "relax.clip":
        lower, upper = call.args[1:]
        return _number(lower), _number(upper)
    return None


def _number(bound: relax.Expr) -> float:
    return float(getattr(bound, "value", bound))
