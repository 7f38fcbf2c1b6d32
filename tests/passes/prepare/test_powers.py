"""Powers by constants that are products and roots."""

from __future__ import annotations

import numpy as np
import pytest

from .spellings import Speller, compare, operators_of

X = np.linspace(0.25, 3, 48, dtype=np.float32).reshape(2, 3, 8)


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (2.0, ["multiply"]),
        (3.0, ["multiply", "multiply"]),
        (0.5, ["sqrt"]),
        (-0.5, ["sqrt", "divide"]),
        (np.full((1, 8), 2.0), ["multiply"]),
    ],
)
def test_small_exponents(exponent, expected: list[str]) -> None:
    def spelling(b: Speller, x: str) -> str:
        return b("Pow", x, exponent)

    assert operators_of(spelling) == expected
    compare(spelling, X, X.astype(np.float64) ** exponent, tolerance=27 * 2.0**-22)


def test_the_first_power_is_the_number_itself() -> None:
    assert operators_of(lambda b, x: b("Neg", b("Pow", x, 1.0))) == ["negative"]


@pytest.mark.parametrize("exponent", [2.5, np.array([2.0, 3.0] * 4), np.full((4, 1, 3, 8), 2.0)])
def test_others_stay(exponent) -> None:
    assert operators_of(lambda b, x: b("Pow", x, exponent)) == ["power"]
