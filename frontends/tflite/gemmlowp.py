"""Functions of fixed-point numbers, as TFLite's reference kernels compute them: for tables of 8-bit integers.

A number is an integer in units of ``2**(bits - 31)``, int64 here where there it is int32. Source: gemmlowp,
``fixedpoint/fixedpoint.h``, https://github.com/google/gemmlowp.
"""

from __future__ import annotations

import numpy as np

from ...passes.hub.fixed_point import high_product, rounded_shift

ONE = 2**31 - 1
"""1 in units of 2**-31, as near as int32 comes."""


def saturated_left(values: np.ndarray, shift: int) -> np.ndarray:
    """Return ``values * 2**shift`` within int32."""
    return np.clip(values << shift, -(2**31), ONE)


def exponential(values: np.ndarray, bits: int) -> np.ndarray:
    """Return ``exp(x)`` of x <= 0 with ``bits`` integer bits, in units of ``2**-31``."""
    fraction = 31 - bits
    quarter = 1 << (fraction - 2)
    near = (values & (quarter - 1)) - quarter
    result = _exponential_near_zero(saturated_left(near, bits))
    remainder = near - values
    for exponent, factor in _EXPONENTIALS.items():
        if bits > exponent:
            taken = (remainder & (1 << (fraction + exponent))) != 0
            result = np.where(taken, high_product(result, factor), result)
    return np.where(values == 0, ONE, result)


_EXPONENTIALS = {
    -2: 1672461947,
    -1: 1302514674,
    0: 790015084,
    1: 290630308,
    2: 39332535,
    3: 720401,
    4: 242,
}
"""``exp(-2**k)`` in units of 2**-31."""


def _exponential_near_zero(values: np.ndarray) -> np.ndarray:
    """Return ``exp(x)`` of x in [-1/4, 0) by Taylor's series around -1/8."""
    x = values + (1 << 28)
    square = high_product(x, x)
    cube, fourth = high_product(square, x), high_product(square, square)
    rest = high_product(rounded_shift(fourth, 2) + cube, 715827883) + square
    around = 1895147668  # exp(-1/8)
    return around + high_product(x + rounded_shift(rest, 1), around)


def reciprocal_of_one_plus(values: np.ndarray) -> np.ndarray:
    """Return ``1 / (1 + x)`` of x in [0, 1], both in units of ``2**-31``."""
    return saturated_left(_newton(values), 1)


def _newton(values: np.ndarray) -> np.ndarray:
    """Return ``2 / (1 + x)`` in units of ``2**-29``, divided by 2: what is shifted left by 1 is in units of 2**-31."""
    half = (values + ONE + 1) >> 1
    found = 1515870810 + high_product(half, -1010580540)
    for _ in range(3):
        rest = 2**29 - high_product(half, found)
        found = found + saturated_left(high_product(found, rest), 2)
    return found


def logistic(values: np.ndarray, bits: int) -> np.ndarray:
    """Return ``1 / (1 + exp(-x))`` in units of ``2**-31``."""
    of_magnitude = reciprocal_of_one_plus(exponential(-np.abs(values), bits))
    result = np.where(values > 0, of_magnitude, ONE - of_magnitude)
    return np.where(values == 0, 1 << 30, result)


def tanh(values: np.ndarray, bits: int) -> np.ndarray:
    """Return ``tanh(x)`` in units of ``2**-31``."""
    inner = exponential(-np.abs(values), bits + 1)  # the same integers stand for 2 x
    magnitude = saturated_left(_newton(inner) - 2**29, 2)
    return np.where(values == 0, 0, np.where(values < 0, -magnitude, magnitude))
