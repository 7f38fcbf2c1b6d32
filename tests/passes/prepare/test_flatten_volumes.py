"""Operators on volumes become operators on images, with nothing between a convolution and its relu."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.hub.graph import shape_of
from tvmq.passes.prepare.flatten_volumes import FlattenVolumes
from tvmq.passes.realize.layout import Layout

from ..modules import assert_close, calls, const, module, operators

SHAPE = (2, 4, 5, 6, 7)


def _conv(b, x, kernel=(3, 3, 3), out=6, **attrs):
    return b.add(relax.op.nn.conv3d(x, const(out, 4 // attrs.get("groups", 1), *kernel), **attrs))


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"padding": 1},
        {"strides": (2, 1, 2), "padding": (0, 1, 2, 1, 0, 1)},
        {"dilation": (2, 1, 2), "padding": 2},
        {"kernel": (1, 3, 2), "padding": (0, 1, 0)},
        {"kernel": (3, 1, 1), "padding": (1, 0, 0), "strides": (2, 1, 1)},
        {"kernel": (1, 1, 1), "strides": 2},
        {"groups": 2, "padding": 1},
        {"groups": 4, "out": 4, "kernel": (3, 2, 2)},
    ],
    ids=str,
)
def test_conv(attrs):
    mod = module({"x": SHAPE}, lambda b, x: _conv(b, x, **attrs))
    new = FlattenVolumes()(mod)
    assert "conv2d" in operators(new) and "conv3d" not in operators(new)
    assert_close(mod, new, 108)


@pytest.mark.parametrize(
    ("depth", "attrs", "slices"),
    [(1, {"padding": 1}, 1), (2, {"padding": 1, "strides": (2, 1, 1)}, 2), (2, {"padding": 1}, 3)],
)
def test_slices_of_the_kernel_that_meet_padding_alone_go(depth, attrs, slices):
    mod = module({"x": (1, 4, depth, 6, 7)}, lambda b, x: _conv(b, x, **attrs))
    new = FlattenVolumes()(mod)
    (conv,) = calls(new, "nn.conv2d")
    assert shape_of(conv.args[1])[1] == 4 * slices
    assert_close(mod, new, 108)


@pytest.mark.parametrize("pool", [relax.op.nn.max_pool3d, relax.op.nn.avg_pool3d])
@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"pool_size": (1, 3, 2), "strides": (1, 2, 2)},
        {"pool_size": (2, 1, 1), "strides": (2, 1, 1)},
        {"padding": 1, "strides": 2, "ceil_mode": True},
        {"padding": 1, "count_include_pad": True},
    ],
    ids=str,
)
def test_pool(pool, attrs):
    attrs = {"pool_size": (3, 3, 3), **attrs}
    mod = module({"x": SHAPE}, lambda b, x: b.add(pool(x, **attrs)))
    new = FlattenVolumes()(mod)
    assert not {"max_pool3d", "avg_pool3d"} & {*operators(new)}
    assert_close(mod, new, 27)


def _network(b, x):
    y = b.add(relax.op.add(_conv(b, x, padding=1, out=4), const(1, 4, 1, 1, 1)))
    y = b.add(
        relax.op.nn.relu(b.add(relax.op.add(y, _conv(b, b.add(relax.op.nn.relu(y)), padding=1, out=4))))
    )
    return b.add(relax.op.mean(y, [2, 3, 4]))


def test_a_chain_is_flattened_once():
    mod = module({"x": SHAPE}, _network)
    new = FlattenVolumes()(mod)
    found = [name for name in operators(new) if name in ("conv2d", "add", "relu", "mean")]
    assert found == ["conv2d", "add", "relu", "conv2d", "add", "relu", "mean"]
    assert_close(mod, new, 300)


def test_no_value_is_transposed_between_convolutions():
    new = Layout()(FlattenVolumes()(module({"x": SHAPE}, _network)))
    assert operators(new).count("permute_dims") == 1


def test_computed_weights_stay():
    mod = module({"x": SHAPE, "w": (6, 4, 1, 1, 1)}, lambda b, x, w: b.add(relax.op.nn.conv3d(x, w)))
    assert "conv3d" in operators(FlattenVolumes()(mod))
