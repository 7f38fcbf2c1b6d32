"""Attention and MultiHeadAttention in each form, beside onnxruntime; packed operands, which it lacks, beside others."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...nodes import floats, one_node, run_node
from .oracle import CLOSE, assert_same, int32

B, S, T, HEADS, DEPTH, PAST = 2, 5, 7, 4, 8, 3
HIDDEN = HEADS * DEPTH
X, WEIGHT, BIAS = floats(B, S, 12), floats(12, 3 * HIDDEN, seed=1), floats(3 * HIDDEN, seed=2)
FIRST_SEEN = int32([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]])
CACHE = floats(2, B, HEADS, PAST, DEPTH, seed=3)
ADDED = floats(B, HEADS, S, S, seed=4)


def mask(*shape: int) -> np.ndarray:
    """Return a mask that hides no row's first key."""
    values = np.random.default_rng(5).integers(0, 2, shape)
    values[..., 0] = 1
    return int32(values)


@pytest.mark.parametrize(
    ("behind", "attributes"),
    [
        ([], {}),
        ([], {"unidirectional": 1}),
        ([], {"scale": 0.7}),
        ([FIRST_SEEN], {"mask_filter_value": -3.0}),
        ([FIRST_SEEN], {"unidirectional": 1}),
        ([mask(B, S, S)], {}),
        ([mask(B, S, S)], {"unidirectional": 1}),
        ([int32([3, 5])], {}),
        ([int32([3, 5, 1, 2])], {}),
        ([None, None, ADDED], {}),
        ([int32([3, 5]), None, ADDED[:1, :1]], {}),
        ([None, CACHE], {"outputs": 2, "unidirectional": 1}),
        ([mask(B, S + PAST), CACHE], {"outputs": 2}),
        ([], {"outputs": 2}),
    ],
)
def test_attention(behind: list, attributes: dict) -> None:
    assert_same("Attention", X, WEIGHT, BIAS, *behind, constants=(1, 2), num_heads=HEADS, **attributes)


def test_without_bias() -> None:
    assert_same("Attention", X, WEIGHT, constants=(1,), num_heads=HEADS)


def test_values_of_another_depth() -> None:
    weight, bias = floats(12, 16 + 16 + 32), floats(64, seed=1)
    assert_same("Attention", X, weight, bias, num_heads=HEADS, qkv_hidden_sizes=[16, 16, 32])


QUERY, KEY, VALUE = floats(B, S, HIDDEN), floats(B, T, HIDDEN, seed=1), floats(B, T, HIDDEN, seed=2)
BY_HEAD = (floats(B, HEADS, T, DEPTH, seed=1), floats(B, HEADS, T, DEPTH, seed=2))
OWN = (QUERY, KEY[:, :S], VALUE[:, :S])
NONE = (None, None, None)


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ([QUERY, KEY, VALUE], {}),
        ([QUERY, KEY, VALUE, BIAS], {"scale": 0.5}),
        ([QUERY, KEY, VALUE[..., :16], floats(2 * HIDDEN + 16)], {}),
        ([QUERY, KEY, VALUE, None, mask(B, T)], {}),
        ([QUERY, KEY, VALUE, None, mask(B, S, T)], {"mask_filter_value": -2.0}),
        ([QUERY, KEY, VALUE, None, int32([3, 5])], {}),
        ([QUERY, KEY, VALUE, None, None, floats(1, HEADS, S, T)], {}),
        ([*OWN], {"unidirectional": 1}),
        ([QUERY, *BY_HEAD], {}),
        ([QUERY, *BY_HEAD, BIAS], {}),
        ([QUERY, KEY, VALUE], {"outputs": 3}),
        ([*OWN, *NONE, *CACHE], {"outputs": 3}),
        ([*OWN, BIAS, None, None, *CACHE], {"outputs": 3, "unidirectional": 1}),
        ([*OWN, None, mask(B, S + PAST), None, *CACHE], {"outputs": 3}),
    ],
)
def test_multi_head_attention(inputs: list, attributes: dict) -> None:
    assert_same("MultiHeadAttention", *inputs, num_heads=HEADS, **attributes)


def multi_head(*inputs) -> np.ndarray:
    return run_node("MultiHeadAttention", *inputs, domain="com.microsoft", num_heads=HEADS)[0]


def test_packed_operands() -> None:
    by_head = [value.reshape(B, S, HEADS, DEPTH) for value in OWN]
    expected = multi_head(*OWN)
    np.testing.assert_allclose(multi_head(np.stack(by_head, axis=3)), expected, atol=CLOSE)
    np.testing.assert_allclose(multi_head(QUERY, np.stack(by_head[1:], axis=3)), expected, atol=CLOSE)


def test_it_is_one_kernel() -> None:
    inputs = [X, WEIGHT, BIAS, FIRST_SEEN]
    model, _ = one_node("Attention", *inputs, constants=(1, 2), domain="com.microsoft", num_heads=HEADS)
    kernels = [kernel["name"] for kernel in tvmq.compile(model, "llvm -mcpu=x86-64-v3").metadata["kernels"]]
    assert sum(name.startswith("attention") for name in kernels) == 1
    assert not any("softmax" in name for name in kernels)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "message"),
    [
        ("Attention", [X, WEIGHT, BIAS, FIRST_SEEN.astype(bool)], {}, "its mask_index is bool; expected int32"),
        (
            *("Attention", [X, WEIGHT, BIAS, mask(B, S + 1)], {}),
            r"its mask_index has the shape \[2,6\]; expected \[2,5\] or \[2,5,5\] or \[2\] or \[4\]",
        ),
        ("Attention", [X, WEIGHT, BIAS], {"do_rotary": 1}, "do_rotary .* not supported"),
        ("Attention", [X, WEIGHT], {"num_heads": 5}, "its weights has 32 numbers a row, which 5 heads do not share"),
        ("Attention", [X, WEIGHT], {"qkv_hidden_sizes": [8, 8, 8]}, "its weights have 96 columns, which are no"),
        ("Attention", [X, WEIGHT, None, None, None, ADDED[:, :2]], {}, r"its attention_bias has the shape \[2,2,5,5\]"),
        (
            *("MultiHeadAttention", [QUERY, KEY, VALUE, None, np.ones((B, T))], {}),
            "its key_padding_mask is float64; expected int32",
        ),
        ("MultiHeadAttention", [QUERY, KEY, VALUE], {"unidirectional": 1}, "unidirectional needs a key for each query"),
        ("MultiHeadAttention", [*OWN, *NONE, CACHE[0]], {}, "it has one of past_key and past_value; expected both"),
        ("MultiHeadAttention", [QUERY], {}, r"its query has the shape \[2,5,32\]; expected \[B,S,4,3,D\]"),
        ("MultiHeadAttention", [QUERY, KEY, VALUE[:, :3]], {}, r"its value has the shape \[2,3,32\]; expected"),
    ],
)  # fmt: skip
def test_what_is_refused(op_type: str, inputs: list, attributes: dict, message: str) -> None:
    model, _ = one_node(op_type, *inputs, domain="com.microsoft", **{"num_heads": HEADS, **attributes})
    with pytest.raises(TvmqError, match=rf"^ONNX node 'node' \({op_type}\) cannot be imported: {message}"):
        load_onnx(model)
