"""Taps that only meet padding are dropped, and no others."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.prepare.trim_taps import TrimTaps

from ..modules import assert_close, calls, const, module


@pytest.mark.parametrize(
    ("kernel", "attrs", "left"),
    [
        ((3, 3), {"dilation": 8, "padding": 8}, (1, 1)),
        ((3, 3), {"dilation": (8, 2), "padding": (8, 2)}, (1, 3)),
        ((3, 3), {"dilation": 6, "padding": 6}, (3, 3)),
        ((3, 3), {"dilation": 7, "padding": (7, 8, 7, 8)}, (1, 3)),
        ((3, 3), {"dilation": 8, "padding": (16, 8, 0, 8)}, (1, 1)),
        ((5, 1), {"dilation": (4, 1), "padding": (8, 0), "strides": 2}, (3, 1)),
        ((3, 3), {"padding": 1, "groups": 2}, (3, 3)),
        ((2, 2), {"dilation": 7, "padding": (0, 0, 1, 1)}, (2, 2)),  # its image would have to be cut
    ],
)
def test_kernel(kernel, attrs, left):
    weight = const(6, 4 // attrs.get("groups", 1), *kernel)
    mod = module({"x": (1, 4, 7, 7)}, lambda b, x: b.add(relax.op.nn.conv2d(x, weight, **attrs)))
    new = TrimTaps()(mod)
    (call,) = calls(new, "nn.conv2d")
    assert tuple(int(extent) for extent in call.args[1].ty.shape.values[2:]) == left
    assert_close(mod, new, 4 * kernel[0] * kernel[1])
