"""GELU and SiLU as exporters write them out, and what is almost one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .spellings import Speller, compare, operators_of

ROOT, SLOPE, CUBE = math.sqrt(2.0), math.sqrt(2 / math.pi), 0.044715


def torch_erf(b: Speller, x: str) -> str:
    """Torch's TorchScript exporter."""
    return b("Mul", b("Mul", x, b("Add", b("Erf", b("Div", x, ROOT)), 1.0)), 0.5)


def dynamo_erf(b: Speller, x: str) -> str:
    """Torch's dynamo exporter."""
    return b("Mul", b("Mul", x, 0.5), b("Add", b("Erf", b("Mul", x, 1 / ROOT)), 1.0))


def keras_erf(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", 0.5, x), b("Add", 1.0, b("Erf", b("Div", x, ROOT))))


def late_half(b: Speller, x: str) -> str:
    return b("Mul", x, b("Div", b("Add", b("Erf", b("Mul", 1 / ROOT, x)), 1.0), 2.0))


def multiplied_out(b: Speller, x: str) -> str:
    half = b("Mul", x, 0.5)
    return b("Add", half, b("Mul", b("Mul", 0.5, x), b("Erf", b("Div", x, ROOT))))


def of_float16_constants(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", x, 0.5), b("Add", b("Erf", b("Mul", x, float(np.float16(1 / ROOT)))), 1.0))


def torch_tanh(b: Speller, x: str) -> str:
    inner = b("Mul", b("Add", x, b("Mul", b("Pow", x, 3.0), CUBE)), SLOPE)
    return b("Mul", b("Mul", x, 0.5), b("Add", b("Tanh", inner), 1.0))


def tanh_of_products(b: Speller, x: str) -> str:
    cube = b("Mul", b("Mul", x, x), x)
    inner = b("Mul", SLOPE, b("Add", x, b("Mul", CUBE, cube)))
    return b("Mul", 0.5, b("Mul", x, b("Add", 1.0, b("Tanh", inner))))


def tanh_factored(b: Speller, x: str) -> str:
    """Hugging Face's ``gelu_fast``."""
    square = b("Add", b("Mul", b("Mul", x, CUBE), x), 1.0)
    return b("Mul", b("Mul", x, 0.5), b("Add", b("Tanh", b("Mul", b("Mul", x, SLOPE), square)), 1.0))


def silu(b: Speller, x: str) -> str:
    return b("Mul", x, b("Sigmoid", x))


def silu_reversed(b: Speller, x: str) -> str:
    return b("Mul", b("Sigmoid", x), x)


X = np.linspace(-6, 6, 48, dtype=np.float32).reshape(2, 3, 8)
WIDE = X.astype(np.float64)
EXACT = {
    "nn.gelu": WIDE * (1 + np.vectorize(math.erf)(WIDE / ROOT)) / 2,
    "nn.gelu_tanh": WIDE * (1 + np.tanh(SLOPE * (WIDE + CUBE * WIDE**3))) / 2,
    "nn.silu": WIDE / (1 + np.exp(-WIDE)),
}
SPELLINGS = [
    *((spelling, "nn.gelu") for spelling in (torch_erf, dynamo_erf, keras_erf, late_half, multiplied_out)),
    *((spelling, "nn.gelu_tanh") for spelling in (torch_tanh, tanh_of_products, tanh_factored)),
    (silu, "nn.silu"),
    (silu_reversed, "nn.silu"),
]


@pytest.mark.parametrize(("spelling", "operator"), SPELLINGS)
def test_each_spelling_is_the_operator(spelling, operator: str) -> None:
    assert operators_of(spelling) == [operator.removeprefix("nn.")]
    compare(spelling, X, EXACT[operator], tolerance=6e-6)  # 1e-6 of values up to 6


def test_constants_may_be_those_of_float16() -> None:
    assert operators_of(of_float16_constants) == ["gelu"]


def test_behind_what_computes_x() -> None:
    def spelling(b: Speller, x: str) -> str:
        return torch_erf(b, b("Mul", b("Add", x, np.arange(8.0)), 2.0))

    assert operators_of(spelling)[-1] == "gelu"
    assert "erf" not in operators_of(spelling)


def another_constant(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", x, 0.5), b("Add", b("Erf", b("Mul", x, 0.7)), 1.0))


def of_another_value(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", x, 0.5), b("Add", b("Erf", b("Mul", b("Neg", x), 1 / ROOT)), 1.0))


def without_half(b: Speller, x: str) -> str:
    return b("Mul", x, b("Add", b("Erf", b("Div", x, ROOT)), 1.0))


def difference(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", x, 0.5), b("Sub", 1.0, b("Erf", b("Div", x, ROOT))))


def quick(b: Speller, x: str) -> str:
    return b("Mul", x, b("Sigmoid", b("Mul", x, 1.702)))


def by_channel(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", x, np.full(8, 0.5)), b("Add", b("Erf", b("Div", x, np.full(8, 1.5))), 1.0))


def read_elsewhere(b: Speller, x: str) -> tuple[str, str]:
    """The sum in the middle is an output: it stays, and so the rest may."""
    total = b("Add", b("Erf", b("Div", x, ROOT)), 1.0)
    return b("Mul", b("Mul", x, 0.5), total), total


@pytest.mark.parametrize(
    "spelling",
    [another_constant, of_another_value, without_half, difference, quick, by_channel, read_elsewhere],
)
def test_near_misses_stay(spelling) -> None:
    assert {"gelu", "gelu_tanh", "silu"}.isdisjoint(operators_of(spelling))
