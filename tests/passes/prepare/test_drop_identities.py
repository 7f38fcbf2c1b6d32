"""Operators without effect go; ranges merge into one relu or clip; near misses stay."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.prepare.drop_identities import DropIdentities

from ..modules import assert_close, calls, module, operators

SHAPE = (2, 3, 4, 5)


def _after(*steps):
    """Return (before, after) of a chain of ``step(x)``."""

    def body(b, x):
        for step in steps:
            x = b.add(step(x))
        return b.add(relax.op.abs(x))  # so that the chain is not all there is

    mod = module({"x": SHAPE}, body)
    return mod, DropIdentities()(mod)


def _const(value, *shape):
    return relax.const(np.full(shape, value, "float32"))


@pytest.mark.parametrize(
    "step",
    [
        lambda x: relax.op.astype(x, "float32"),
        lambda x: relax.op.reshape(x, SHAPE),
        lambda x: relax.op.broadcast_to(x, SHAPE),
        lambda x: relax.op.permute_dims(x, [0, 1, -2, -1]),
        lambda x: relax.op.nn.pad(x, [0] * 8),
        lambda x: relax.op.strided_slice(x, [2], [0], [4], [1]),
        lambda x: relax.op.multiply(x, _const(1, 3, 1, 1)),
        lambda x: relax.op.multiply(_const(1), x),
        lambda x: relax.op.add(x, _const(0)),
        lambda x: relax.op.add(_const(0), x),
        lambda x: relax.op.subtract(x, _const(0)),
        lambda x: relax.op.divide(x, _const(1)),
        lambda x: relax.op.concat([x], axis=1),
    ],
)
def test_identity(step):
    mod, new = _after(step)
    assert operators(new) == ["abs"]
    assert_close(mod, new)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: relax.op.astype(x, "float64"),
        lambda x: relax.op.reshape(x, (2, 3, 20)),
        lambda x: relax.op.permute_dims(x, [0, 1, 3, 2]),
        lambda x: relax.op.nn.pad(x, [0] * 7 + [1]),
        lambda x: relax.op.strided_slice(x, [2], [3], [-5], [-1]),
        lambda x: relax.op.multiply(x, _const(1, 1, 1, 1, 1, 1)),  # adds an axis
        lambda x: relax.op.subtract(_const(0), x),
        lambda x: relax.op.divide(_const(1), x),
        lambda x: relax.op.concat([x, x], axis=1),
        lambda x: relax.op.clip(x, -1, 1),
    ],
)
def test_near_miss(step):
    mod, new = _after(step)
    assert operators(new) == operators(mod)


def test_dropout_is_its_input():
    def body(b, x):
        both = b.add(relax.op.nn.dropout(x, 0.5))
        return b.add(relax.op.abs(b.add(relax.TupleGetItem(both, 0))))

    assert operators(DropIdentities()(module({"x": SHAPE}, body))) == ["abs"]


def test_reshape_of_reshape():
    mod, new = _after(lambda x: relax.op.reshape(x, (6, 20)), lambda x: relax.op.reshape(x, (120,)))
    assert operators(new) == ["reshape", "abs"]
    assert_close(mod, new)


def relu(x):
    return relax.op.nn.relu(x)


def clip(low, high):
    return lambda x: relax.op.clip(x, low, high)


def maximum(value):
    return lambda x: relax.op.maximum(x, _const(value))


def minimum(value):
    return lambda x: relax.op.minimum(x, _const(value))


@pytest.mark.parametrize(
    ("steps", "expected", "bounds"),
    [
        ([relu, relu], "relu", None),
        ([maximum(0)], "relu", None),
        ([maximum(-1), minimum(1)], "clip", (-1, 1)),
        ([minimum(6), relu], "clip", (0, 6)),
        ([relu, clip(-1, 2)], "clip", (0, 2)),
        ([relu, clip(1, 2)], "clip", (1, 2)),
        ([clip(0, 6), relu], "clip", (0, 6)),
        ([clip(-3, 3), clip(-1, 9)], "clip", (-1, 3)),
        ([clip(2, 3), clip(0, 1)], "clip", (1, 1)),
    ],
)
def test_ranges_merge(steps, expected, bounds):
    mod, new = _after(*steps)
    assert operators(new) == [expected, "abs"]
    if bounds is not None:
        assert tuple(float(bound.value) for bound in calls(new, "clip")[0].args[1:]) == bounds
    assert_close(mod, new)


def test_an_open_range_stays():
    mod, new = _after(maximum(-1))
    assert operators(new) == ["maximum", "abs"]


def test_a_range_that_others_read_stays():
    def body(b, x):
        inner = b.add(relax.op.nn.relu(x))
        return b.add(relax.op.add(inner, b.add(relax.op.clip(inner, -1, 2))))

    mod = module({"x": SHAPE}, body)
    assert operators(DropIdentities()(mod)) == ["relu", "clip", "add"]


@pytest.mark.parametrize(("condition", "name"), [(True, "x"), (False, "y")])
def test_a_choice_that_is_always_the_same(condition, name):
    def body(b, x, y):
        return b.add(relax.op.abs(b.add(relax.op.where(relax.const(np.full((4, 1), condition)), x, y))))

    new = DropIdentities()(module({"x": (3, 4, 5), "y": (3, 4, 5)}, body))
    assert operators(new) == ["abs"]
    assert calls(new, "abs")[0].args[0].name == name


@pytest.mark.parametrize("condition", [np.array([[True], [False]]), np.full((3, 2, 1), True)])
def test_a_choice_that_changes_or_widens_stays(condition):
    def body(b, x):
        return b.add(relax.op.where(relax.const(condition), x, relax.const(np.float32(0))))

    assert operators(DropIdentities()(module({"x": (2, 5)}, body))) == ["where"]


def test_a_reshape_back_is_nothing():
    def body(b, x):
        return b.add(relax.op.abs(b.add(relax.op.reshape(b.add(relax.op.expand_dims(x, 1)), (3, 4)))))

    assert operators(DropIdentities()(module({"x": (3, 4)}, body))) == ["abs"]
