"""Row pairs round to what the integers of rows stand for, and are found again."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.graph import bindings_of, layer_name, op_name, tupled
from tvmq.passes.hub.pairs import float_form
from tvmq.passes.hub.row_pairs import row_pairs
from tvmq.passes.prepare.prepare import Prepare
from tvmq.search.host import run_on_host

from ..modules import const, module, operators, random

SHAPE = (3, 5, 17)
FORMS = list(product((True, False), (True, False)))


def with_pair(symmetric, whole):
    return module({"x": SHAPE}, lambda b, x: b.row_pair(x, symmetric=symmetric, whole=whole))


def rows():
    """Return rows of any numbers, of zeros, of one sign, and of ties."""
    data = random(*SHAPE)
    data[0, 1] = 0
    data[0, 2], data[0, 3] = np.abs(data[0, 2]), -np.abs(data[0, 3])
    data[1] = np.round(data[1] * 64).clip(-127, 127) / 2
    data[1, :, 0] = 63.5
    data[2, 0] *= np.float32(1e-42)
    return data


@pytest.mark.parametrize(("symmetric", "whole"), FORMS)
def test_the_numbers_that_integers_stand_for(symmetric, whole):
    data = rows()
    lines = data.reshape(1, -1) if whole else data
    integers, scales, zeros = arithmetic.quantize_rows(lines, "uint8", symmetric)
    expected = arithmetic.dequantize(integers, scales[..., None], zeros[..., None])
    (result,) = run_on_host(tupled(with_pair(symmetric, whole)))({"x": data})
    np.testing.assert_array_equal(result, expected.reshape(SHAPE))


@pytest.mark.parametrize(("symmetric", "whole"), FORMS)
def test_it_is_found(symmetric, whole):
    mod = with_pair(symmetric, whole)
    for each in (mod, Prepare()(mod)):
        ((var, pair),) = row_pairs(each).items()
        assert (pair.symmetric, pair.whole) == (symmetric, whole)
        assert pair.source.same_as(each["main"].params[0]) and pair.chain[0].same_as(var)


def test_several_readers_and_several_pairs():
    def body(b, x):
        first = b.row_pair(x, symmetric=True)
        return b.add(relax.op.add(first, b.row_pair(first, symmetric=False)))

    found = list(row_pairs(module({"x": SHAPE}, body)).values())
    assert [pair.symmetric for pair in found] == [True, False]
    assert found[1].source.same_as(found[0].chain[0])


def test_the_float_form_has_none():
    def body(b, x):
        return b.add(relax.op.matmul(b.row_pair(x, symmetric=False), const(17, 4)))

    assert operators(float_form(module({"x": SHAPE}, body))) == ["matmul"]


def _by_hand(b, x, limit=127.0, steps=127, axis=-1, other=False):
    """Return a symmetric pair, or what is nearly one."""
    most = b.add(relax.op.max(b.add(relax.op.abs(x)), [axis], keepdims=True))
    step = b.add(relax.op.divide(most, relax.const(limit)))
    is_zero = b.add(relax.op.equal(step, relax.const(0.0)))
    scale = b.add(relax.op.where(is_zero, relax.const(1.0), step))
    count = b.add(relax.op.round(b.add(relax.op.divide(x, scale))))
    clipped = b.add(relax.op.clip(count, float(-steps), float(steps)))
    return b.add(relax.op.multiply(clipped, step if other else scale))


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 1), ({"limit": 120.0}, 0), ({"steps": 126}, 0), ({"axis": 1}, 0), ({"other": True}, 0)],
    ids=str,
)
def test_what_is_nearly_one_is_none(changes, count):
    assert len(row_pairs(module({"x": SHAPE}, lambda b, x: _by_hand(b, x, **changes)))) == count


def test_bindings_bear_the_layers_name():
    values = [binding.value for binding in bindings_of(with_pair(False, False))]
    assert {layer_name(value) for value in values if op_name(value)} == {"rows"}
