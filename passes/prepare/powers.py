"""Powers by a whole number or a half --> what has kernels of its own.

x ** 2    --> x * x            x ** 0.5  --> sqrt(x)
x ** 3    --> x * x * x        x ** -0.5 --> 1 / sqrt(x)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import dtype_of, is_constant, layer_name, op_name, shape_of, to_numpy
from .rewriting import Scope, apply_rule

EXPONENTS = frozenset({-0.5, 0.5, 1.0, 2.0, 3.0})


@tvm.transform.module_pass(opt_level=0, name="tvmq.Powers")
@dataclass(frozen=True)
class Powers:
    """Write powers by small constant exponents as products and roots."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without such powers."""
        return apply_rule(mod, _simplify)


def _simplify(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    exponent = _exponent(value)
    if exponent is None:
        return None
    base, name = value.args[0], layer_name(value)
    if exponent == 1.0:
        return base
    if exponent == 2.0:
        return relax.op.multiply(base, base)
    if exponent == 3.0:
        return relax.op.multiply(scope.emit(relax.op.multiply(base, base), name), base)
    root = relax.op.sqrt(base)
    if exponent == 0.5:
        return root
    return relax.op.divide(relax.const(1.0, dtype_of(base)), scope.emit(root, name))


def _exponent(value: relax.Expr) -> float | None:
    """Return the exponent of a power of floats; None for another operator, or one that stays."""
    if op_name(value) != "relax.power" or not dtype_of(value).startswith("float"):
        return None
    base, exponent = value.args
    if is_constant(base) or not is_constant(exponent) or shape_of(base) != shape_of(value):
        return None
    numbers = np.unique(to_numpy(exponent))
    return float(numbers[0]) if len(numbers) == 1 and float(numbers[0]) in EXPONENTS else None
