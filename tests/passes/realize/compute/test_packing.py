"""Packing while a model runs gives what packing ahead of time does."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tvm
from tvm import te

from tvmq.passes.hub import packing as ahead
from tvmq.passes.realize.compute import depthwise, packing


def packed(define, weight):
    source = te.placeholder(weight.shape, "float32", name="weight")
    result = define(source)
    function = tvm.compile(te.create_prim_func([source, result]), target="llvm")
    out = tvm.runtime.tensor(np.zeros([int(extent) for extent in result.shape], np.float32))
    function(tvm.runtime.tensor(weight), out)
    return out.numpy()


def numbers(*shape):
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(("channels", "groups", "depth"), [(16, 1, 1), (9, 1, 1), (14, 2, 4)])
def test_conv2d(channels, groups, depth):
    weight = numbers(channels, 7, 3, 2)
    define = partial(packing.pack_conv2d, groups=groups, lanes=8, depth=depth)
    np.testing.assert_array_equal(
        packed(define, weight), ahead.pack_conv2d(weight, groups, lanes=8, depth=depth)
    )


@pytest.mark.parametrize(("inner", "columns", "depth"), [(5, 16, 1), (7, 9, 4), (8, 31, 2)])
def test_matmul(inner, columns, depth):
    weight = numbers(inner, columns)
    expected = ahead.pack_matmul(weight, lanes=8, depth=depth)
    define = partial(packing.pack_matmul, lanes=8, depth=depth)
    np.testing.assert_array_equal(packed(define, weight), expected)
    filters = np.ascontiguousarray(weight.T[:, :, None, None])
    define = partial(packing.pack_pointwise, lanes=8, depth=depth)
    np.testing.assert_array_equal(packed(define, filters), expected)


@pytest.mark.parametrize("channels", [8, 13])
def test_depthwise(channels):
    weight = numbers(channels, 1, 3, 5)
    define = partial(packing.pack_depthwise, lanes=8)
    np.testing.assert_array_equal(packed(define, weight), depthwise.pack_depthwise(weight, lanes=8))
