"""Scales and choices of rows behind the products of attention, and what stays in front of them."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import to_numpy
from tvmq.passes.prepare.attention_order import AttentionOrder

from ..modules import assert_close, calls, const, module, operators

QUERY, KEY = (2, 4, 5, 8), (2, 4, 7, 8)
SWAP = [0, 1, 3, 2]


def number(value: float) -> relax.Expr:
    return relax.const(np.float32(value))


def products(scale_query, scale_key):
    """Return the module of ``query @ transpose(key)``, each operand with what is done to it before."""

    def body(b, query, key):
        query = b.add(scale_query(query)) if scale_query else query
        key = b.add(scale_key(key)) if scale_key else key
        return b.add(relax.op.matmul(query, b.add(relax.op.permute_dims(key, SWAP))))

    return module({"query": QUERY, "key": KEY}, body)


def by(factor: float):
    return lambda x: relax.op.multiply(x, number(factor))


def over(factor: float):
    return lambda x: relax.op.divide(x, number(factor))


@pytest.mark.parametrize(
    ("scale_query", "scale_key", "factor"),
    [(by(0.5), None, 0.5), (None, by(0.25), 0.25), (by(0.5), by(3.0), 1.5), (over(4.0), None, 0.25)],
)
def test_scales_go_behind_the_product(scale_query, scale_key, factor: float) -> None:
    mod = products(scale_query, scale_key)
    new = AttentionOrder()(mod)
    assert operators(new) == ["permute_dims", "matmul", "multiply"]
    assert to_numpy(calls(new, "multiply")[0].args[1]).item() == pytest.approx(factor)
    assert_close(mod, new, 8)


def test_a_scale_of_zero_or_of_each_column_stays() -> None:
    for scale in (number(0.0), const(8)):
        mod = products(lambda x, scale=scale: relax.op.multiply(x, scale), None)
        assert operators(AttentionOrder()(mod)) == operators(mod)


def test_a_scale_that_weights_can_take_stays() -> None:
    def body(b, x, key):
        query = b.add(relax.op.multiply(b.add(relax.op.matmul(x, const(8, 8))), number(0.5)))
        return b.add(relax.op.matmul(query, key))

    mod = module({"x": QUERY, "key": (2, 4, 8, 7)}, body)
    assert operators(AttentionOrder()(mod)) == ["matmul", "multiply", "matmul"]


def test_scaled_values_that_others_read_stay() -> None:
    def body(b, x, key):
        query = b.add(relax.op.multiply(x, number(0.5)))
        return b.add(relax.op.add(b.add(relax.op.matmul(query, key)), query))

    mod = module({"x": (2, 8, 8), "key": (2, 8, 8)}, body)
    assert operators(AttentionOrder()(mod)) == ["multiply", "matmul", "add"]


def chosen(rows: int, columns: int, otherwise: float = 0.0, softmax: bool = True):
    """Return the module of ``where(hidden, otherwise, softmax(scores)) @ values``."""

    def body(b, scores, values, mask):
        shares = b.add(relax.op.nn.softmax(scores) if softmax else relax.op.abs(scores))
        hidden = b.add(relax.op.less(mask, number(0.0)))
        shares = b.add(relax.op.where(hidden, number(otherwise), shares))
        return b.add(relax.op.matmul(shares, values))

    return module({"scores": (2, 5, 7), "values": (2, 7, 8), "mask": (rows, columns)}, body)


def test_a_choice_of_rows_goes_behind_the_product() -> None:
    mod = chosen(5, 1)
    new = AttentionOrder()(mod)
    assert operators(new) == ["softmax", "less", "matmul", "where"]
    assert_close(mod, new, 7)


@pytest.mark.parametrize(
    "mod",
    [chosen(5, 7), chosen(5, 1, otherwise=1.0), chosen(5, 1, softmax=False)],
    ids=["numbers", "one", "abs"],
)
def test_other_choices_stay(mod) -> None:
    assert operators(AttentionOrder()(mod)) == operators(mod)
