"""GroupQueryAttention of a prompt, and behind a cache, beside onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ....onnx_node.path import compile_and_run
from ...nodes import floats, one_node
from .oracle import CLOSE, assert_same, int32
from .test_rotary import tables

B, S, HEADS, SHARED, DEPTH, PAST = 2, 5, 4, 2, 16, 6
QUERY, KEY, VALUE = (floats(B, S, heads * DEPTH, seed=heads) for heads in (HEADS, SHARED, SHARED))
PACKED = floats(B, S, (HEADS + 2 * SHARED) * DEPTH)
CACHE = floats(2, B, SHARED, PAST, DEPTH, seed=9)
PROMPT = (None, None, int32([S - 1] * B), int32(S))
TABLES = tables(DEPTH // 2)
HOW = {"num_heads": HEADS, "kv_num_heads": SHARED, "outputs": 3}


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ([QUERY, KEY, VALUE, *PROMPT], {}),
        ([QUERY, KEY, VALUE, *PROMPT], {"constants": (5, 6)}),
        ([QUERY, KEY, VALUE, *PROMPT], {"scale": 0.6, "softcap": 2.0, "local_window_size": 2}),
        ([QUERY, KEY, VALUE, *PROMPT], {"causal": 0}),
        ([QUERY, KEY, VALUE, *PROMPT, *TABLES], {"do_rotary": 1, "rotary_interleaved": 1}),
        ([QUERY, KEY, VALUE, *PROMPT, *TABLES, np.tile(np.arange(S) + 3, (B, 1))], {"do_rotary": 1}),
        ([QUERY, KEY, VALUE, *PROMPT, None, None, None, floats(1, HEADS, S, S)], {}),
        ([PACKED, None, None, *PROMPT], {}),
        ([PACKED, None, None, *PROMPT, *TABLES], {"do_rotary": 1}),
    ],
)
def test_prompt(inputs: list, attributes: dict) -> None:
    assert_same("GroupQueryAttention", *inputs, **HOW, **attributes)


@pytest.mark.parametrize(
    ("rows", "attributes"),
    [
        (1, {}),
        (1, {"constants": (5, 6)}),
        (1, {"do_rotary": 1, "local_window_size": 3}),
        (1, {"do_rotary": 1, "softcap": 3.0}),
    ],
)
def test_behind_a_full_cache(rows: int, attributes: dict) -> None:
    tokens = [value[:, :rows] for value in (QUERY, KEY, VALUE)]
    cached = TABLES if "do_rotary" in attributes else (None, None)
    total = int32(PAST + rows)
    lengths = int32([PAST + rows - 1] * B)
    assert_same("GroupQueryAttention", *tokens, *CACHE, lengths, total, *cached, **HOW, **attributes)


def test_several_rows_behind_a_cache() -> None:
    tokens = [value[:1] for value in (QUERY, KEY, VALUE)]
    inputs = [*tokens, *CACHE[:, :1], int32([PAST + S - 1]), int32(PAST + S), *TABLES]
    assert_same("GroupQueryAttention", *inputs, **HOW, do_rotary=1)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_cache_that_is_not_full(batch: int) -> None:
    """What is behind an entry's keys in the cache has no meaning, so only the result and the keys are compared."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tvmq[bench]'")
    filled = [PAST, PAST - 3][-batch:]
    tokens = [value[:batch, :1] for value in (QUERY, KEY, VALUE)]
    inputs = [*tokens, *CACHE[:, :batch], int32(filled), int32(PAST + 1), *TABLES]
    model, fed = one_node("GroupQueryAttention", *inputs, domain="com.microsoft", **HOW, do_rotary=1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found, expected = compile_and_run(model, fed), session.run(None, fed)
    np.testing.assert_allclose(found[0], expected[0], atol=CLOSE)
    for one, other in zip(found[1:], expected[1:], strict=True):
        for entry, count in enumerate(filled):
            keys = (entry, slice(None), slice(count + 1))
            np.testing.assert_allclose(one[keys], other[keys], atol=CLOSE)


def test_as_many_heads_of_keys() -> None:
    inputs = [QUERY, QUERY[::-1], QUERY[:, ::-1], *PROMPT]
    assert_same("GroupQueryAttention", *inputs, num_heads=HEADS, kv_num_heads=HEADS, outputs=3)


@pytest.mark.parametrize(
    ("inputs", "attributes", "message"),
    [
        ([QUERY, KEY, VALUE, *PROMPT], {"smooth_softmax": 1}, "smooth_softmax is not supported"),
        (
            [QUERY, KEY, VALUE, *PROMPT],
            {"kv_num_heads": 3},
            "4 heads of queries do not share 3 of keys evenly",
        ),
        ([QUERY, KEY, VALUE, *PROMPT], {"do_rotary": 1}, "do_rotary needs cos_cache and sin_cache"),
        (
            *([QUERY, KEY, VALUE, None, None, np.array([4, 4]), int32(S)], {}),
            "its seqlens_k is int64; expected int32",
        ),
        (
            *([QUERY, KEY, VALUE, *CACHE[..., :8], *PROMPT[2:]], {}),
            r"its past_key has the shape \[2,2,6,8\]; expected \[2,2,6,16\]",
        ),
        ([QUERY, KEY[:, :3], VALUE, *PROMPT], {}, r"its key has the shape \[2,3,32\]; expected \[2,5,32\]"),
    ],
)
def test_what_is_refused(inputs: list, attributes: dict, message: str) -> None:
    model, _ = one_node("GroupQueryAttention", *inputs, domain="com.microsoft", **{**HOW, **attributes})
    with pytest.raises(
        TvmqError, match=rf"^ONNX node 'node' \(GroupQueryAttention\) cannot be imported: {message}"
    ):
        load_onnx(model)
