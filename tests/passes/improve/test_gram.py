"""Moments of a layer's columns: the columns times the weights are the layer, the moments those of the columns."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.improve import gram
from tvmq.passes.improve.gram import Blocks, Moments, columns, grouped, grouped_shape, ungrouped

from ..modules import calls, const, module, random, run


def _module(name: str):
    conv, shapes = relax.op.nn.conv2d, (2, 4, 7, 6)
    bodies = {
        "dense": lambda b, x: b.add(conv(x, const(6, 4, 3, 3), padding=(1, 0, 1, 2), strides=(2, 1))),
        "dilated": lambda b, x: b.add(conv(x, const(6, 4, 2, 3), dilation=(2, 1))),
        "grouped": lambda b, x: b.add(conv(x, const(6, 2, 3, 3), groups=2, padding=1)),
        "depthwise": lambda b, x: b.add(conv(x, const(4, 1, 3, 3), groups=4, padding=1)),
        "matmul": lambda b, x: b.add(relax.op.matmul(x, const(6, 5))),
    }
    return module({"x": shapes}, bodies[name])


@pytest.mark.parametrize("name", ["dense", "dilated", "grouped", "depthwise", "matmul"])
def test_columns_times_weights_is_the_operator(name):
    mod = _module(name)
    call = calls(mod, "matmul" if name == "matmul" else "nn.conv2d")[0]
    data = np.random.default_rng(7).standard_normal((2, 4, 7, 6)).astype("float32")
    weight = call.args[1].value.numpy()
    products = grouped(call, weight).astype(np.float64) @ columns(call, data)
    (expected,) = run(mod, seed=7)
    expected = np.moveaxis(expected, -1 if name == "matmul" else 1, 0)
    # At most 36 float32 products of values below 5.
    np.testing.assert_allclose(products.reshape(expected.shape), expected, atol=36 * 2.0**-24 * 100)
    np.testing.assert_array_equal(ungrouped(call, grouped(call, weight)), weight)
    assert grouped_shape(call) == grouped(call, weight).shape


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_moments_are_those_of_all_samples_together(offset):
    """Also far from zero, where float32 sums of squares would lose a variance of one."""
    call = calls(_module("dilated"), "nn.conv2d")[0]
    samples = [
        (random(2, 4, 7, 6, seed=seed) + offset, random(2, 4, 7, 6, seed=seed + 9)) for seed in range(3)
    ]
    moments = Moments(call)
    for exact, quantized in samples:
        moments.update(quantized, exact)
    exact, quantized = (
        np.concatenate([columns(call, pair[place]) for pair in samples], axis=-1).astype(np.float64)
        for place in (1, 0)
    )
    assert moments.count == exact.shape[-1]
    size = exact.shape[1]
    both = np.cov(exact[0], quantized[0], bias=True)
    np.testing.assert_allclose(moments.covariance[0], both[size:, size:], atol=1e-4)
    np.testing.assert_allclose(moments.cross_covariance[0], both[:size, size:], atol=1e-4)
    np.testing.assert_allclose(moments.means[0][0], exact[0].mean(-1), atol=1e-4)


@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 7)), (1, (2, 7, 5)), (2, (2, 3, 7))])
def test_blocks_are_cut_and_joined(axis, shape):
    values, blocks = random(*shape), Blocks(7, 3)
    cut = blocks.split(values, axis)
    assert cut.shape[0] == 6 and cut.shape[axis] == 3
    np.testing.assert_array_equal(blocks.join(cut, axis), values)
    assert np.count_nonzero(cut) == values.size  # zeros fill up the last one


def test_covariances_of_blocks_are_those_on_the_diagonal(monkeypatch):
    call = calls(_module("matmul"), "matmul")[0]
    data = [(random(2, 4, 7, 6, seed=seed), random(2, 4, 7, 6, seed=seed + 9)) for seed in range(2)]
    whole = Moments(call)
    monkeypatch.setattr(gram, "ELEMENTS", 18)
    blocks = Moments(call)
    for exact, quantized in data:
        whole.update(exact, quantized)
        blocks.update(exact, quantized)
    assert blocks.blocks == Blocks(6, 2) and blocks.covariance.shape == (2, 3, 3)
    for place in range(2):
        part = slice(3 * place, 3 * place + 3)
        np.testing.assert_allclose(blocks.covariance[place], whole.covariance[0, part, part], atol=1e-6)
        np.testing.assert_allclose(
            blocks.cross_covariance[place], whole.cross_covariance[0, part, part], atol=1e-6
        )
    np.testing.assert_allclose(blocks.means[1], whole.means[1], atol=1e-6)


@pytest.mark.parametrize(("groups", "length"), [(1, 25088), (1, 60000), (512, 9), (2, 9216)])
def test_covariances_of_wide_layers_stay_within_their_room(groups, length):
    blocks = Blocks.of(groups, length)
    assert blocks.count * blocks.size >= length
    assert groups * blocks.count * blocks.size**2 <= 1.01 * gram.ELEMENTS
