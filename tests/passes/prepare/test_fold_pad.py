"""Pads go into the operator behind them where its result stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.prepare.fold_pad import FoldPad

from ..modules import assert_close, calls, const, module, operators

LOWEST = float(np.finfo(np.float32).min)
WIDTH = [0, 0, 0, 0, 1, 2, 3, 0]  # top, bottom, left, right of the last four


def _module(behind, width=WIDTH, value=0.0, mode="constant"):
    def body(b, x):
        return b.add(behind(b.add(relax.op.nn.pad(x, width, mode, value))))

    return module({"x": (1, 4, 5, 6)}, body)


def conv(padding):
    return lambda x: relax.op.nn.conv2d(x, const(8, 2, 3, 3), groups=2, strides=2, padding=padding)


def average(**attrs):
    return lambda x: relax.op.nn.avg_pool2d(x, (3, 2), (2, 1), **attrs)


def maximum(**attrs):
    return lambda x: relax.op.nn.max_pool2d(x, (3, 2), (2, 1), **attrs)


@pytest.mark.parametrize(
    ("behind", "value", "padding"),
    [
        (conv(0), 0.0, (1, 3, 2, 0)),
        (conv((1, 2, 0, 4)), 0.0, (2, 5, 2, 4)),
        (average(), 0.0, (1, 3, 2, 0)),
        (average(padding=1, count_include_pad=True), 0.0, (2, 4, 3, 1)),
        (maximum(), LOWEST, (1, 3, 2, 0)),
        (maximum(padding=1), -np.inf, (2, 4, 3, 1)),
    ],
)
def test_folds(behind, value, padding):
    mod = _module(behind, value=value)
    new = FoldPad()(mod)
    assert len(operators(new)) == 1
    call = new["main"].body.blocks[0].bindings[0].value
    assert tuple(int(width) for width in call.attrs.padding) == padding
    assert_close(mod, new, 18)


@pytest.mark.parametrize(
    "mod",
    [
        _module(conv(0), value=1.0),
        _module(conv(0), mode="reflect"),
        _module(lambda x: relax.op.nn.conv2d(x, const(8, 6, 3, 3)), width=[0, 0, 1, 1, 0, 0, 0, 0]),
        _module(average(padding=1)),  # leaves its own pads out of the count
        _module(average(ceil_mode=True)),
        _module(maximum()),  # zero may be the largest
        _module(maximum(ceil_mode=True), value=LOWEST),
        _module(relax.op.nn.relu),
    ],
)
def test_near_miss(mod):
    assert operators(FoldPad()(mod)) == operators(mod)


def test_a_pad_that_others_read_stays():
    def body(b, x):
        padded = b.add(relax.op.nn.pad(x, WIDTH))
        return relax.Tuple([padded, b.add(conv(0)(padded))])

    assert operators(FoldPad()(module({"x": (1, 4, 5, 6)}, body))) == ["pad", "conv2d"]


def test_groups_and_strides_stay():
    attrs = calls(FoldPad()(_module(conv(0))), "nn.conv2d")[0].attrs
    assert (attrs.groups, tuple(attrs.strides)) == (2, (2, 2))
