"""Activations written out --> the operator that they are.

    x (1 + erf(x / sqrt(2))) / 2                                --> gelu(x)
    x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2           --> gelu_tanh(x)
    x sigmoid(x)                                                --> silu(x)

in any order of additions, products, and quotients by numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tvm
from tvm import IRModule, relax

from ..hub.graph import dtype_of, op_name
from .polynomials import Polynomial, polynomial
from .rewriting import Scope, apply_rule

ROOTS = frozenset({"relax.add", "relax.divide", "relax.multiply"})
"""What may be the last operator of one."""


@dataclass(frozen=True)
class Activation:
    """An activation of ``x`` that contains a function of ``x``.

    Attributes
    ----------
    function : the Relax operator inside.
    factors : of ``x`` to the powers 1, 3, .. that the function is applied to.
    share : of ``x`` and of ``x`` times the function, that the activation is the sum of.
    result : makes the operator.
    """

    function: str
    factors: tuple[float, ...]
    share: tuple[float, float]
    result: Callable[[relax.Expr], relax.Call]


ACTIVATIONS: tuple[Activation, ...] = (
    Activation("relax.erf", (math.sqrt(0.5),), (0.5, 0.5), relax.op.nn.gelu),
    Activation(
        *("relax.tanh", (math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi)), (0.5, 0.5)),
        relax.op.nn.gelu_tanh,
    ),
    Activation("relax.sigmoid", (1.0,), (0.0, 1.0), relax.op.nn.silu),
)


@tvm.transform.module_pass(opt_level=0, name="tvmq.SpelledActivations")
@dataclass(frozen=True)
class SpelledActivations:
    """Find activations of float32 that are written out."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with each such activation as one operator."""
        return apply_rule(mod, _replace)


def _replace(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if op_name(value) not in ROOTS or dtype_of(value) != "float32":
        return None
    found = polynomial(scope, value)
    if found is None or len(found.variables) != 2:
        return None
    for x, inside in (found.variables, reversed(found.variables)):
        for activation in ACTIVATIONS:
            call = scope.defined_by(inside, activation.function)
            if call is not None and _is(scope, found, activation, x, inside, call):
                return activation.result(x)
    return None


def _is(
    scope: Scope, found: Polynomial, activation: Activation, x: relax.Var, inside: relax.Var, call: relax.Call
) -> bool:
    """Tell whether the polynomial of ``x`` and of ``inside``, which ``call`` gives, is the activation of ``x``."""
    alone, weighted = activation.share
    terms = [(weighted, (x, inside)), *([(alone, (x,))] if alone else [])]
    if not found.equals(*terms):
        return False
    argument = call.args[0]
    inner = polynomial(scope, argument) if not x.same_as(argument) else Polynomial({(x,): 1.0})
    return inner is not None and inner.equals(
        *((factor, (x,) * (2 * place + 1)) for place, factor in enumerate(activation.factors))
    )
