"""Inputs of a concatenation share its parameters where nothing else reads them."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.shared_ranges import shared_groups
from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.pairs import activation_pairs
from tvmq.passes.hub.schemes import get_scheme

from ..modules import const, module


def _conv(b, x, name):
    return b.add(relax.op.nn.conv2d(x, const(4, int(x.ty.shape[1]), 1, 1)), name)


def _groups(body):
    mod = Annotate(get_scheme("int8"))(module({"x": (1, 4, 4, 4)}, body))
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    pairs = activation_pairs(mod)
    return [
        sorted(op_name(values[pair.source]).split(".")[-1] for pair in pairs if pair.name in group)
        for group in shared_groups(mod, pairs)
    ]


def _join(b, *values):
    return b.add(relax.op.concat(list(values), axis=1), "concat")


def test_inputs_that_nothing_else_reads():
    assert _groups(lambda b, x: _conv(b, _join(b, _conv(b, x, "a"), _conv(b, x, "b")), "c")) == [
        ["concat", "conv2d", "conv2d"]
    ]


def test_through_a_pooling():
    def body(b, x):
        pooled = b.add(relax.op.nn.max_pool2d(_conv(b, x, "a"), (2, 2), (2, 2)), "pool")
        strided = b.add(relax.op.nn.conv2d(x, const(4, 4, 2, 2), strides=2), "b")
        return _conv(b, _join(b, pooled, strided), "c")

    assert _groups(body) == [["concat", "conv2d", "conv2d"]]


def test_an_input_with_other_readers_keeps_its_own():
    def body(b, x):
        shared = _conv(b, x, "a")
        joined = _conv(b, _join(b, shared, _conv(b, x, "b")), "c")
        return relax.Tuple([joined, _conv(b, shared, "d")])

    assert _groups(body) == [["concat", "conv2d"]]


def test_a_concatenation_of_a_concatenation():
    def body(b, x):
        inner = _join(b, _conv(b, x, "a"), _conv(b, x, "b"))
        return _conv(b, _join(b, inner, _conv(b, x, "c")), "d")

    assert _groups(body) == [["concat", "concat", "conv2d", "conv2d", "conv2d"]]


@pytest.mark.parametrize("join", [relax.op.add, relax.op.multiply])
def test_other_operators_share_nothing(join):
    assert _groups(lambda b, x: _conv(b, b.add(join(_conv(b, x, "a"), _conv(b, x, "b")), "j"), "c")) == []
