"""Integer division by what a processor cannot divide by: 0, and the least integer by -1."""

from __future__ import annotations

import numpy as np
import pytest

from ...nodes import run_node

DIVISORS = [0, -1, 1, 3, -3, 0, 2]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_signed(dtype: str) -> None:
    least = np.iinfo(dtype).min
    data, divisor = np.array([7, least, 7, -7, 7, least, 5], dtype), np.array(DIVISORS, dtype)
    (quotient,) = run_node("Div", data, divisor)
    np.testing.assert_array_equal(quotient, np.array([0, least, 7, -2, -2, 0, 2], dtype))
    (remainder,) = run_node("Mod", data, divisor)
    np.testing.assert_array_equal(remainder, np.array([0, 0, 0, 2, -2, 0, 1], dtype))
    (remainder,) = run_node("Mod", data, divisor, fmod=1)
    np.testing.assert_array_equal(remainder, np.array([0, 0, 0, -1, 1, 0, 1], dtype))


@pytest.mark.parametrize("shapes", [((8,), (8,)), ((1, 5, 2, 2), (1, 1, 1, 2))])
def test_vectors(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    data, divisor = (rng.integers(-9, 10, shape) for shape in shapes)
    divisor[divisor == 0] = 4
    (quotient,) = run_node("Div", data, divisor)
    np.testing.assert_array_equal(quotient, np.trunc(data / divisor))
    (remainder,) = run_node("Mod", data, divisor)
    np.testing.assert_array_equal(remainder, data % divisor)
    (remainder,) = run_node("Mod", data, divisor, fmod=1)
    np.testing.assert_array_equal(remainder, np.fmod(data, divisor))


def test_unsigned_and_broadcast() -> None:
    data, divisor = np.arange(6, dtype="uint8").reshape(2, 3), np.array([0, 2, 255], "uint8")
    (quotient,) = run_node("Div", data, divisor)
    np.testing.assert_array_equal(quotient, [[0, 0, 0], [0, 2, 0]])


def test_floats_are_as_they_were() -> None:
    data, divisor = np.array([1.0, 0.0, -1.0], "f4"), np.array([0.0, 0.0, 2.0], "f4")
    (quotient,) = run_node("Div", data, divisor)
    np.testing.assert_array_equal(quotient, np.array([np.inf, np.nan, -0.5], "f4"))
