"""Activations of recurrent layers, by ONNX's names, as expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from ...hub.recurrences import GateFunction
from .vectors import exponential, number

Function = Callable[[tirx.Expr], tirx.Expr]


@dataclass(frozen=True)
class Functions:
    """What activations are made of: functions of float32."""

    exp: Function
    tanh: Function


def _limited_exponential(x: tirx.Expr) -> tirx.Expr:
    # What is no number stays so: a limit that is compared with it loses.
    return exponential(tirx.max(number(-87.0), tirx.min(number(88.0), x)))


def _tanh(x: tirx.Expr) -> tirx.Expr:
    power = _limited_exponential(-2.0 * tirx.abs(x))
    magnitude = (1.0 - power) / (1.0 + power)
    return tirx.Select(x < 0, -magnitude, magnitude)


EXACT = Functions(tirx.exp, tirx.tanh)
"""Those of the target's library."""

BY_POLYNOMIALS = Functions(_limited_exponential, _tanh)
"""Off by less than 1e-6 for results of about 1, and made of what vectors have instructions for."""


@dataclass(frozen=True)
class Formula:
    """An activation of alpha and beta, and their defaults; None where it does not have one."""

    of: Callable[[tirx.Expr, float, float, Functions], tirx.Expr]
    alpha: float | None = None
    beta: float | None = None


def _positive(x: tirx.Expr, yes: tirx.Expr, no: tirx.Expr | float) -> tirx.Expr:
    return tirx.Select(x > 0, yes, tirx.const(no, "float32") if isinstance(no, float) else no)


def _clamped(x: tirx.Expr, low: float, high: float) -> tirx.Expr:
    return tirx.max(tirx.min(x, tirx.const(high, "float32")), tirx.const(low, "float32"))


def _softplus(x: tirx.Expr, by: Functions) -> tirx.Expr:
    return _positive(x, x, 0.0) + tirx.log(1.0 + by.exp(-tirx.abs(x)))


FORMULAS: dict[str, Formula] = {
    "Affine": Formula(lambda x, a, b, by: a * x + b, 1.0, 0.0),
    "Elu": Formula(lambda x, a, b, by: _positive(x, x, a * (by.exp(x) - 1.0)), 1.0),
    "HardSigmoid": Formula(lambda x, a, b, by: _clamped(a * x + b, 0.0, 1.0), 0.2, 0.5),
    "LeakyRelu": Formula(lambda x, a, b, by: _positive(x, x, a * x), 0.01),
    "Relu": Formula(lambda x, a, b, by: _positive(x, x, 0.0)),
    "ScaledTanh": Formula(lambda x, a, b, by: a * by.tanh(b * x), 1.0, 1.0),
    "Sigmoid": Formula(lambda x, a, b, by: 1.0 / (1.0 + by.exp(-x))),
    "Softplus": Formula(lambda x, a, b, by: _softplus(x, by)),
    "Softsign": Formula(lambda x, a, b, by: x / (1.0 + tirx.abs(x))),
    "Tanh": Formula(lambda x, a, b, by: by.tanh(x)),
    "ThresholdedRelu": Formula(
        lambda x, a, b, by: tirx.Select(x > tirx.const(a, "float32"), x, tirx.const(0.0, "float32")), 1.0
    ),
}
"""ONNX's names of activations."""


def applied(function: GateFunction, x: tirx.Expr, by: Functions) -> tirx.Expr:
    """Return the activation of a float32."""
    return FORMULAS[function.name].of(x, function.alpha, function.beta, by)
