"""Float functions made of approximations that become vectors.

    sigmoid(x)   = 1 / (1 + exp(-x))
    silu(x)      = x sigmoid(x)
    gelu(x)      = x (1 + erf(x / sqrt(2))) / 2
    gelu_tanh(x) = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2

TVM's ``fast_exp``, ``fast_erf`` and ``fast_tanh`` are polynomials and quotients of them, each within 4e-7.
"""

from __future__ import annotations

import math

from tvm import te, tirx, topi


def _float(value: float) -> tirx.Expr:
    return tirx.const(value, "float32")


def sigmoid(data: te.Tensor) -> te.Tensor:
    """Return ``1 / (1 + exp(-data))``, float32."""
    power = topi.fast_exp(topi.negative(data))
    return te.compute(data.shape, lambda *i: _float(1) / (_float(1) + power(*i)), name="sigmoid")


def silu(data: te.Tensor) -> te.Tensor:
    """Return ``data * sigmoid(data)``, float32."""
    return topi.multiply(data, sigmoid(data))


def gelu(data: te.Tensor) -> te.Tensor:
    """Return the Gaussian error linear unit of ``data``, float32."""
    return _half_of(data, topi.fast_erf(topi.multiply(data, _float(math.sqrt(0.5)))))


def gelu_tanh(data: te.Tensor) -> te.Tensor:
    """Return the Gaussian error linear unit by way of tanh, float32."""
    factor = math.sqrt(2 / math.pi)
    inner = te.compute(
        data.shape,
        lambda *i: data(*i) * (_float(factor) + _float(factor * 0.044715) * data(*i) * data(*i)),
        name="inner",
    )
    return _half_of(data, topi.fast_tanh(inner))


def _half_of(data: te.Tensor, share: te.Tensor) -> te.Tensor:
    return te.compute(
        data.shape, lambda *i: data(*i) * (_float(0.5) + _float(0.5) * share(*i)), name="weighted"
    )
