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


def factor_of_a_head(b, scores):
    return b.add(relax.op.multiply(scores, const(H, 1, 1)))


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
    "change",
    [
        scale_by_product,
        scale_by_division,
        factor_of_a_head,
        mask_of_keys,
        mask_by_where,
        mask_the_other_way,
    ],
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


def fuses(mod, left, seed=7):
    """Check that one kernel computes the same as the module, with these operators left; return the kernel's form."""
    after = fused(mod)
    assert operators(after) == left
    for own, other in zip(run(mod, seed), run(after, seed), strict=True):
        np.testing.assert_allclose(other, own, atol=2e-5)
    (kernel,) = [func for var, func in after.functions.items() if var.name_hint.startswith("attention")]
    return [[int(extent) for extent in buffer.shape] for buffer in kernel.params]


def seen_or_not(b, scores):
    """A query that sees nothing has no softmax."""
    mask = np.where(random(S, S) > 0, np.float32(0), np.float32(-np.inf))
    mask[2] = -np.inf
    return b.add(relax.op.add(scores, relax.const(mask)))


def zeros_for_no_number(b, q, k, v, instead=0.0):
    """As PyTorch defines it: zeros for a query that sees no key."""
    query, key, value = heads(b, q), heads(b, k, (0, 2, 3, 1)), heads(b, v)
    weights = b.add(relax.op.nn.softmax(seen_or_not(b, b.add(relax.op.matmul(query, key)))))
    safe = b.add(relax.op.where(b.add(relax.op.isnan(weights)), number(instead), weights))
    return b.add(relax.op.matmul(safe, value))


def test_zeros_in_place_of_what_is_no_number():
    mod = module(INPUTS, lambda b, *x: joined(b, zeros_for_no_number(b, *x)))
    assert not run(mod)[0][:, 2].any()
    fuses(mod, REST)


def test_keys_repeated_for_groups_of_queries_are_read_once():
    def repeated(b, x):
        own = b.add(relax.op.permute_dims(b.add(relax.op.reshape(x, (B, S, 2, D))), [0, 2, 1, 3]))
        apart = b.add(relax.op.broadcast_to(b.add(relax.op.expand_dims(own, 2)), (B, 2, 3, S, D)))
        return b.add(relax.op.reshape(apart, (B, 6, S, D)))

    def body(b, q, k, v):
        query = b.add(relax.op.permute_dims(b.add(relax.op.reshape(q, (B, S, 6, D))), [0, 2, 1, 3]))
        scores = b.add(relax.op.matmul(query, b.add(relax.op.permute_dims(repeated(b, k), [0, 1, 3, 2]))))
        return b.add(relax.op.matmul(b.add(relax.op.nn.softmax(scores)), repeated(b, v)))

    mod = module({"q": (B, S, 6 * D), "k": (B, S, 2 * D), "v": (B, S, 2 * D)}, body)
    own = [B, S, 2, D]
    assert fuses(mod, REST[:-1]) == [[B, S, 6, D], own, own, [B, 6, S, D]]


def test_groups_of_queries_as_an_axis_that_keys_broadcast_to():
    def body(b, q, k, v):
        scores = b.add(relax.op.matmul(q, b.add(relax.op.permute_dims(k, [0, 1, 2, 4, 3]))))
        return b.add(relax.op.matmul(b.add(relax.op.nn.softmax(scores)), v))

    mod = module({"q": (B, 2, 3, S, D), "k": (B, 2, 1, S, D), "v": (B, 2, 1, S, D)}, body)
    left = ["reshape", "reshape", "reshape", "call_tir", "reshape"]
    assert fuses(mod, left)[1] in ([B, 2, S, D], [2 * B, 1, S, D])


def test_products_with_one_axis_for_batch_and_heads():
    """As older exporters write them: ``[B * H, S, D]`` for the products, and four axes for the mask between."""

    def merged(b, x):
        return b.add(relax.op.reshape(heads(b, x), (B * H, S, D)))

    def body(b, q, k, v):
        key = b.add(relax.op.permute_dims(merged(b, k), [0, 2, 1]))
        apart = b.add(relax.op.reshape(b.add(relax.op.matmul(merged(b, q), key)), (B, H, S, S)))
        weights = b.add(relax.op.nn.softmax(b.add(relax.op.add(apart, const(B, 1, 1, S)))))
        result = b.add(relax.op.matmul(b.add(relax.op.reshape(weights, (B * H, S, S))), merged(b, v)))
        return joined(b, b.add(relax.op.reshape(result, (B, H, S, D))))

    shapes = fuses(module(INPUTS, body), REST)
    assert shapes == [[B, S, H, D]] * 3 + [[B, 1, 1, S], [B, S, H, D]]


def test_the_result_with_sequences_first():
    def body(b, q, k, v):
        turned = b.add(relax.op.permute_dims(attention(b, q, k, v), [2, 0, 1, 3]))
        return b.add(relax.op.reshape(turned, (S * B, H * D)))

    assert fuses(module(INPUTS, body), REST)[-1] == [S, B, H, D]


def test_a_value_for_all_of_a_batch_is_repeated():
    def body(b, q, k, v):
        query, key = heads(b, q), heads(b, k, (0, 2, 3, 1))
        weights = b.add(relax.op.nn.softmax(b.add(relax.op.matmul(query, key))))
        return b.add(relax.op.matmul(weights, v))

    mod = module({"q": HIDDEN, "k": HIDDEN, "v": (1, H, S, D)}, body)
    fuses(mod, ["reshape", "reshape", "broadcast_to", "call_tir"])


def test_a_mask_that_windows_of_several_images_share():
    def change(b, scores):
        apart = b.add(relax.op.reshape(scores, (2, 2, H, S, S)))
        masked = b.add(relax.op.add(apart, const(1, 2, 1, S, S)))
        return b.add(relax.op.reshape(masked, (4, H, S, S)))

    def body(b, q, k, v):
        scores = change(b, b.add(relax.op.matmul(q, k)))
        return b.add(relax.op.matmul(b.add(relax.op.nn.softmax(scores)), v))

    mod = module({"q": (4, H, S, D), "k": (4, H, D, S), "v": (4, H, S, D)}, body)
    assert fuses(mod, ["permute_dims", "call_tir"])[3] == [4, 1, S, S]


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


def _ones_for_no_number(b, q, k, v):
    return zeros_for_no_number(b, q, k, v, 1.0)


def _scores_changed_otherwise(b, q, k, v):
    return attention(b, q, k, v, lambda b, scores: b.add(relax.op.tanh(scores)))


@pytest.mark.parametrize(
    "body",
    [
        _weights_read_twice,
        _another_axis,
        _scores_of_no_product,
        _scores_changed_otherwise,
        _ones_for_no_number,
    ],
)
def test_near_misses(body):
    mod = module(INPUTS, body)
    assert operators(fused(mod)) == operators(mod)
