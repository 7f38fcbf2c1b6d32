"""Elementwise operators of one tensor in NumPy: what they compute, for tables and for finding steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from tvm import relax

from .graph import op_name
from .limits import limits_of

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def _selu(x: np.ndarray) -> np.ndarray:
    alpha, gamma = 1.6732632423543772, 1.0507009873554805
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _softplus(x: np.ndarray, attrs) -> np.ndarray:
    scaled = x * attrs.beta
    return np.where(scaled > attrs.threshold, x, np.log1p(np.exp(np.minimum(scaled, 700.0))) / attrs.beta)


_PLAIN: dict[str, Callable[..., np.ndarray]] = {
    "relax.abs": np.abs,
    "relax.add": np.add,
    "relax.ceil": np.ceil,
    "relax.cos": np.cos,
    "relax.divide": np.divide,
    "relax.erf": _erf,
    "relax.exp": np.exp,
    "relax.floor": np.floor,
    "relax.log": np.log,
    "relax.maximum": np.maximum,
    "relax.minimum": np.minimum,
    "relax.multiply": np.multiply,
    "relax.negative": np.negative,
    "relax.nn.gelu": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "relax.nn.gelu_tanh": _gelu_tanh,
    "relax.nn.selu": _selu,
    "relax.nn.silu": lambda x: x * _sigmoid(x),
    "relax.power": np.power,
    "relax.round": np.rint,
    "relax.rsqrt": lambda x: 1.0 / np.sqrt(x),
    "relax.sigmoid": _sigmoid,
    "relax.sign": np.sign,
    "relax.sin": np.sin,
    "relax.sqrt": np.sqrt,
    "relax.square": np.square,
    "relax.subtract": np.subtract,
    "relax.tanh": np.tanh,
}
_WITH_ATTRS: dict[str, Callable[..., np.ndarray]] = {
    "relax.nn.leakyrelu": lambda x, attrs: np.where(x < 0, x * attrs.alpha, x),
    "relax.nn.softplus": _softplus,
}


def apply_operator(call: relax.Call, *operands: np.ndarray) -> np.ndarray | None:
    """Return the operator's value in NumPy; None for one that is no elementwise function known here."""
    name = op_name(call)
    limits = limits_of(call)
    if limits is not None:
        return np.clip(operands[0], *limits)
    if name in _WITH_ATTRS:
        return _WITH_ATTRS[name](*operands, call.attrs)
    return _PLAIN[name](*operands) if name in _PLAIN else None


def is_function(call: relax.Expr) -> bool:
    """Tell whether ``apply_operator`` knows the operator."""
    name = op_name(call)
    return name in _PLAIN or name in _WITH_ATTRS or limits_of(call) is not None
