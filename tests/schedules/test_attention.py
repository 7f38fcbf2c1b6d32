"""Attention is recognised in the spellings of exporters, with its transpositions, and near misses stay as they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tvm import relax

from tvmq.schedules.attention import fuse_attention
from tvmq.targets.row import ConvertBy

from ..passes.modules import const, module, operators, random, run

B, S, H, D = 2, 5, 3, 8
HIDDEN = (B, S, H * D)
NAMES = ("q", "k", "v")
INPUTS = dict.fromkeys(NAMES, HIDDEN)


def fused(mod):
    return fuse_attention(mod, ConvertBy.INSTRUCTION)


def check(mod, wanted, seed=7):
    """Check the operators that are left, and that they compute the same; return the module."""
    after = fused(mod)
    assert operators(after) == wanted
    for own, other in zip(run(mod, seed), run(after, seed), strict=True):
        np.testing.assert_allclose(
            other, own, atol=2e-5
        )  # scores below 30, values below 5: as for the kernel
    return after


def heads(b, x, axes=(0, 2, 1, 3)):
    split = b.add(relax.op.reshape(x, (B, S, H, D)))
    return b.add(relax.op.permute_dims(split, list(axes)))


def joined(b, x):
    return b.add(relax.op.reshape(b.add(relax.op.permute_dims(x, [0, 2, 1, 3])), HIDDEN))


def number(value):
    return relax.const(np.float32(value))


def scale_by_product(b, scores):
    return b.add(relax.op.multiply(scores, number(0.35)))


def scale_by_division(b, scores):
    return b.add(relax.op.divide(scores, number(math.sqrt(D))))


def mask_of_keys(b, scores):
    return b.add(relax.op.add(b.add(relax.op.multiply(scores, number(0.35))), const(B, 1, 1, S)))


def mask_in_front(b, scores):
    return b.add(relax.op.add(const(S, S), scores))


def mask_by_where(b, scores):
    condition = relax.const(random(1, 1, S, S) > -0.5)
    return b.add(relax.op.where(condition, scores, number(-1e4)))


def mask_the_other_way(b, scores):
    condition = relax.const(random(B, 1, 1, S) > 0.5)
    return b.add(relax.op.where(condition, number(-1e4), scores))


def mask_of_windows(b, scores):
    """As windows of an image have it: the windows of a batch are an axis of their own for the mask."""
    apart = b.add(relax.op.reshape(scores, (1, B, H, S, S)))
    masked = b.add(relax.op.add(apart, const(1, B, 1, S, S)))
    return b.add(relax.op.reshape(masked, (B, H, S, S)))


def attention(b, q, k, v, change=scale_by_product, transposed_key=True):
    query, value = heads(b, q), heads(b, v)
    key = (
        heads(b, k, (0, 2, 3, 1))
        if transposed_key
        else b.add(relax.op.permute_dims(heads(b, k), [0, 1, 3, 2]))
    )
    scores = change(b, b.add(relax.op.matmul(query, key)))
    weights = b.add(relax.op.nn.softmax(scores, axis=-1))
    return b.add(relax.op.matmul(weights, value), "attended")


REST = ["reshape", "reshape", "reshape", "call_tir", "reshape"]
"""Queries, keys and values as heads, which moves nothing; the result as one vector a token."""


@pytest.mark.parametrize(
    "change", [scale_by_product, scale_by_division, mask_of_keys, mask_by_where, mask_the_other_way]
)
@pytest.mark.parametrize("transposed_key", [True, False])
def test_spellings(change, transposed_key):
    mod = module(INPUTS, lambda b, *x: joined(b, attention(b, *x, change, transposed_key)))
    after = fused(mod)
    assert [name for name in operators(after) if name not in ("astype",)].count("call_tir") == 1
    assert not {"softmax", "matmul", "permute_dims"} & set(operators(after))
    for own, other in zip(run(mod), run(after), strict=True):
        np.testing.assert_allclose(other, own, atol=2e-5)


def test_a_mask_with_fewer_axes_and_one_of_windows():
    for change in (mask_in_front, mask_of_windows):
        mod = module(INPUTS, lambda b, *x, change=change: joined(b, attention(b, *x, change)))
        assert "softmax" not in operators(fused(mod))
        for own, other in zip(run(mod), run(fused(mod)), strict=True):
            np.testing.assert_allclose(other, own, atol=2e-5)


def test_the_transposition_behind_it_is_its_order():
    check(module(INPUTS, lambda b, *x: joined(b, attention(b, *x))), REST)
    after = check(module(INPUTS, attention), REST[:-1])
    (kernel,) = [func for var, func in after.functions.items() if var.name_hint.startswith("attention")]
    assert [int(extent) for extent in kernel.params[-1].shape] == [B, H, S, D]


def test_a_rounding_behind_it_is_its_own():
    def body(b, *x):
        result = attention(b, *x)
        rounded = b.add(relax.op.quantize(result, number(0.02), relax.const(7, "uint8"), -1, "uint8"))
        return b.add(relax.op.permute_dims(rounded, [0, 2, 1, 3]))

    mod = module(INPUTS, body)
    after = fused(mod)
    assert operators(after) == REST[:-1]
    # An element may lie between two integers up to the tolerance of floats.
    difference = run(after)[0].astype(int) - run(mod)[0]
    assert np.abs(difference).max() <= 1 and np.mean(difference != 0) < 0.02


@pytest.mark.parametrize("rank", [2, 3])
def test_without_an_axis_of_heads(rank):
    shapes = (
        {"q": (S, D), "k": (9, D), "v": (9, 6)}
        if rank == 2
        else {"q": (4, S, D), "k": (4, D, 9), "v": (4, 9, 6)}
    )

    def body(b, q, k, v):
        key = b.add(relax.op.permute_dims(k)) if rank == 2 else k
        scores = b.add(relax.op.matmul(q, key))
        return b.add(relax.op.matmul(b.add(relax.op.nn.softmax(scores)), v))

    mod = module(shapes, body)
    after = fused(mod)
    assert "softmax" not in operators(after) and "call_tir" in operators(after)
    for own, other in zip(run(mod), run(after), strict=True):
        np.testing.assert_allclose(other, own, atol=2e-5)


def test_sequences_before_heads_of_a_batch():
    """As PyTorch's MultiheadAttention has it: [S, B * H, D]."""

    def body(b, q, k, v):
        query, value = (b.add(relax.op.permute_dims(x, [1, 0, 2])) for x in (q, v))
        scores = b.add(relax.op.matmul(query, b.add(relax.op.permute_dims(k, [1, 2, 0]))))
        return b.add(relax.op.matmul(b.add(relax.op.nn.softmax(scores)), value))

    mod = module(dict.fromkeys(NAMES, (S, B * H, D)), body)
    after = fused(mod)
    assert not {"permute_dims", "softmax"} & set(operators(after))
    for own, other in zip(run(mod), run(after), strict=True):
        np.testing.assert_allclose(other, own, atol=2e-5)


def _weights_read_twice(b, q, k, v):
    query, key, value = heads(b, q), heads(b, k, (0, 2, 3, 1)), heads(b, v)
    weights = b.add(relax.op.nn.softmax(b.add(relax.op.matmul(query, key))))
    result = b.add(relax.op.matmul(weights, value))
    return relax.Tuple([result, weights])


def _another_axis(b, q, k, v):
    query, key, value = heads(b, q), heads(b, k, (0, 2, 3, 1)), heads(b, v)
    weights = b.add(relax.op.nn.softmax(b.add(relax.op.matmul(query, key)), axis=2))
    return b.add(relax.op.matmul(weights, value))


def _scores_of_no_product(b, q, k, v):
    shape = b.add(relax.op.reshape(q, (B, H, D, S)))
    return b.add(relax.op.matmul(b.add(relax.op.nn.softmax(shape)), heads(b, v)))


def _scores_changed_otherwise(b, q, k, v):
    return attention(b, q, k, v, lambda b, scores: b.add(relax.op.tanh(scores)))


def _one_batch_for_all(b, q, k, v):
    query, key = heads(b, q), heads(b, k, (0, 2, 3, 1))
    weights = b.add(relax.op.nn.softmax(b.add(relax.op.matmul(query, key))))
    value = b.add(relax.op.strided_slice(heads(b, v), [0], [0], [1]))
    return b.add(relax.op.matmul(weights, value))


@pytest.mark.parametrize(
    "body",
    [
        _weights_read_twice,
        _another_axis,
        _scores_of_no_product,
        _scores_changed_otherwise,
        _one_batch_for_all,
    ],
)
def test_near_misses(body):
    mod = module(INPUTS, body)
    assert operators(fused(mod)) == operators(mod)
