"""Pointwise operators before what only moves their operands: ``f(move(x), c) --> move(f(x, c'))``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from ..hub.graph import is_constant, to_numpy
from ..hub.operators import is_scalar

POINTWISE = frozenset(
    {
        "relax.add",
        "relax.clip",
        "relax.dequantize",
        "relax.divide",
        "relax.exp",
        "relax.maximum",
        "relax.minimum",
        "relax.multiply",
        "relax.nn.gelu",
        "relax.nn.leakyrelu",
        "relax.nn.relu",
        "relax.nn.silu",
        "relax.quantize",
        "relax.sigmoid",
        "relax.subtract",
        "relax.tanh",
    }
)
"""Those to and from integers with one scale for all of them; scales of channels are no operands that a move fits."""


def before_move(
    call: relax.Call,
    moved: Callable[[relax.Expr], relax.Expr | None],
    constant_of: Callable[[np.ndarray], relax.Expr | None],
) -> relax.Call | None:
    """Return the call on its operands as they were before a move; None where one of them, or all, were never moved.

    Parameters
    ----------
    moved : what a tensor was before; None for one that the move has not made.
    constant_of : a constant for those operands; None where it does not fit them. Single numbers stay.
    """
    if all(is_constant(argument) for argument in call.args):
        return None
    args: list[relax.Expr] = []
    for argument in call.args:
        if is_scalar(argument):
            args.append(argument)
            continue
        operand = constant_of(to_numpy(argument)) if is_constant(argument) else moved(argument)
        if operand is None:
            return None
        args.append(operand)
    return relax.Call(call.op, args, call.attrs)
