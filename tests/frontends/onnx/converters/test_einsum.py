"""Einsum of two operands is a product of matrices; others stay sums of products."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, op_name

from ...nodes import floats, one_node, run_node

ATOL = 60 * 2.0**-24 * 60
"""Up to 60 products of numbers below 1, in another order."""


def shapes_of(equation: str) -> list[tuple[int, ...]]:
    extents = {index: 2 + place for place, index in enumerate("bghijdk")} | {"B": 2, "N": 3}
    return [
        tuple(extents[index] for index in term)
        for term in equation.replace(" ", "").partition("->")[0].split(",")
    ]


def products_in(equation: str) -> list[str]:
    model, _ = one_node("Einsum", *map(lambda shape: floats(*shape), shapes_of(equation)), equation=equation)
    return [
        name
        for binding in bindings_of(load_onnx(model))
        if (name := op_name(binding.value)) == "relax.matmul"
    ]


@pytest.mark.parametrize(
    "equation",
    [
        "ij,jk->ik",
        "bhid,bhjd->bhij",
        "bghij,bghjd->bgihd",  # the result in an order of its own
        "B N i d, B j N d -> N B j i",
        "bid,djk->bijk",  # no batch: rows and columns of several axes
        "bijd,bkdj->bki",  # two indices are summed over
        "j,ij->i",  # a vector
        "bj,bj->b",  # neither rows nor columns
    ],
)
def test_products(equation: str) -> None:
    arrays = [floats(*shape, seed=seed) for seed, shape in enumerate(shapes_of(equation))]
    (result,) = run_node("Einsum", *arrays, equation=equation)
    np.testing.assert_allclose(result, np.einsum(equation, *arrays), atol=ATOL)
    assert len(products_in(equation)) == 1


@pytest.mark.parametrize(
    "equation",
    [
        "ij->ji",
        "ij,ij->ij",  # nothing is summed over
        "i,j->ij",
        "ij,jk,kd->id",
        "ijd,ij->i",  # one operand has a sum of its own
        "ij,jk",  # the result is not said
    ],
)
def test_near_misses(equation: str) -> None:
    arrays = [floats(*shape, seed=seed) for seed, shape in enumerate(shapes_of(equation))]
    (result,) = run_node("Einsum", *arrays, equation=equation)
    np.testing.assert_allclose(result, np.einsum(equation, *arrays), atol=ATOL)
    assert not products_in(equation)
