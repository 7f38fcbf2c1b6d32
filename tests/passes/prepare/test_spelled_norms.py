"""Layer and RMS normalization as exporters write them out, and what is almost one."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.prepare.spelled_norms import SpelledNorms

from ..modules import assert_close, calls, module, operators
from .spellings import Speller, compare, operators_of, prepared

EPSILON = 1e-5
RNG = np.random.default_rng(3)
GAMMA, BETA = (RNG.standard_normal(8).astype("float32") for _ in range(2))
X = RNG.normal(1, 2, (2, 3, 8)).astype("float32")


def mean(b: Speller, x: str, axis: int = -1, keepdims: int = 1) -> str:
    return b("ReduceMean", x, axes=[axis], keepdims=keepdims)


def deviation(b: Speller, square: str) -> str:
    return b("Sqrt", b("Add", mean(b, square), EPSILON))


def torch_layer_norm(b: Speller, x: str) -> str:
    centred = b("Sub", x, mean(b, x))
    normal = b("Div", centred, deviation(b, b("Pow", centred, 2.0)))
    return b("Add", b("Mul", normal, GAMMA), BETA)


def products(b: Speller, x: str) -> str:
    centred = b("Sub", x, mean(b, x))
    normal = b("Div", centred, deviation(b, b("Mul", centred, centred)))
    return b("Add", BETA, b("Mul", GAMMA, normal))


def reciprocal(b: Speller, x: str) -> str:
    centred = b("Sub", x, mean(b, x, axis=2))
    normal = b("Mul", centred, b("Reciprocal", deviation(b, b("Pow", centred, 2.0))))
    return b("Add", b("Mul", normal, GAMMA.reshape(1, 1, 8)), BETA)


def computed_twice(b: Speller, x: str) -> str:
    """Old exporters."""
    one, other = (b("Sub", x, mean(b, x)) for _ in range(2))
    normal = b("Div", one, deviation(b, b("Pow", other, 2.0)))
    return b("Add", b("Mul", normal, GAMMA), BETA)


def torch_rms_norm(b: Speller, x: str) -> str:
    root = deviation(b, b("Pow", x, 2.0))
    return b("Mul", GAMMA, b("Mul", x, b("Reciprocal", root)))


def rms_of_quotient(b: Speller, x: str) -> str:
    return b("Mul", b("Div", x, deviation(b, b("Mul", x, x))), GAMMA)


def rms_of_one(b: Speller, x: str) -> str:
    return b("Mul", b("Mul", b("Div", 1.0, deviation(b, b("Mul", x, x))), x), GAMMA)


WIDE = X.astype(np.float64)
CENTRED = WIDE - WIDE.mean(-1, keepdims=True)
EXACT = {
    "layer_norm": CENTRED / np.sqrt((CENTRED**2).mean(-1, keepdims=True) + EPSILON) * GAMMA + BETA,
    "rms_norm": WIDE / np.sqrt((WIDE**2).mean(-1, keepdims=True) + EPSILON) * GAMMA,
}


@pytest.mark.parametrize(
    ("spelling", "operator"),
    [
        *((each, "layer_norm") for each in (torch_layer_norm, products, reciprocal, computed_twice)),
        *((each, "rms_norm") for each in (torch_rms_norm, rms_of_quotient, rms_of_one)),
    ],
)
def test_each_spelling_is_the_operator(spelling, operator: str) -> None:
    assert operators_of(spelling) == [operator]
    (call,) = calls(prepared(spelling), f"nn.{operator}")
    assert float(call.attrs.epsilon) == pytest.approx(EPSILON)
    compare(spelling, X, EXACT[operator], tolerance=4e-6)  # ten roundings of numbers below 6


def test_onnx_own_operator_takes_in_what_scales_it() -> None:
    def spelling(b: Speller, x: str) -> str:
        return b("Mul", b("LayerNormalization", x, GAMMA, BETA, epsilon=EPSILON), 2.0)

    assert operators_of(spelling) == ["layer_norm"]
    compare(spelling, X, 2 * EXACT["layer_norm"], tolerance=8e-6)


def test_its_body_is_one_operator() -> None:
    def spelling(b: Speller, x: str) -> str:
        return b("RMSNormalization", x, GAMMA, epsilon=EPSILON)

    assert operators_of(spelling, opset=23) == ["rms_norm"]


def test_computed_weights_stay_behind() -> None:
    def body(b, x, gamma):
        norm = relax.op.nn.rms_norm(x, relax.const(np.ones(8, "float32")), [-1])
        return b.add(relax.op.multiply(b.add(norm), gamma))

    mod = module({"x": (3, 8), "gamma": (8,)}, body)
    new = SpelledNorms()(mod)
    assert operators(new) == ["rms_norm", "multiply"]
    assert_close(mod, new, 8)


def other_axis(b: Speller, x: str) -> str:
    centred = b("Sub", x, mean(b, x, axis=1))
    return b("Div", centred, b("Sqrt", b("Add", mean(b, b("Mul", centred, centred), axis=1), EPSILON)))


def mean_of_another(b: Speller, x: str) -> str:
    """The squares are of the numbers, and what is divided has the mean taken off: neither of the two."""
    return b("Div", b("Sub", x, mean(b, x)), deviation(b, b("Mul", x, x)))


def without_epsilon(b: Speller, x: str) -> str:
    return b("Div", x, b("Sqrt", mean(b, b("Mul", x, x))))


def product_of_root(b: Speller, x: str) -> str:
    return b("Mul", x, deviation(b, b("Mul", x, x)))


def of_rows_of_the_transpose(b: Speller, x: str) -> str:
    """The mean is of another axis than the mean square."""
    centred = b("Sub", x, mean(b, x, axis=1))
    return b("Div", centred, deviation(b, b("Mul", centred, centred)))


@pytest.mark.parametrize("spelling", [other_axis, mean_of_another, without_epsilon, product_of_root])
def test_near_misses_stay(spelling) -> None:
    assert {"layer_norm", "rms_norm"}.isdisjoint(operators_of(spelling))


def test_a_mean_of_another_axis_is_taken_off_before() -> None:
    assert operators_of(of_rows_of_the_transpose) == ["mean", "subtract", "rms_norm"]


def weight_by_row(b: Speller, x: str) -> str:
    return b("Mul", b("LayerNormalization", x, GAMMA, BETA), np.arange(6.0).reshape(2, 3, 1))


def read_elsewhere(b: Speller, x: str) -> tuple[str, str]:
    norm = b("LayerNormalization", x, GAMMA, BETA)
    return b("Mul", norm, GAMMA), norm


@pytest.mark.parametrize("spelling", [weight_by_row, read_elsewhere])
def test_weights_that_have_no_place_in_it_stay(spelling) -> None:
    assert operators_of(spelling) == ["layer_norm", "multiply"]
