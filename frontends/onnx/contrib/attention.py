"""``Attention`` and ``MultiHeadAttention``: every query has keys of its own head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .body import Body
from .scores import (
    Sizes,
    check_bias,
    head_depth,
    later_keys,
    mask_of_keys,
    split_heads,
    weighted_values,
)

FILTERED = -10000.0
"""What is added to the scores of hidden keys, where a node does not say."""


def attention(
    body: Body, x: str, weight: str, bias: str = "", mask: str = "", past: str = "", added: str = "",
    past_length: str = "", *,
    num_heads: int, unidirectional: int = 0, scale: float = 0.0, mask_filter_value: float = FILTERED,
    qkv_hidden_sizes: Sequence[int] = (), do_rotary: int = 0, past_present_share_buffer: int = 0,
    rotary_embedding_dim: int = 0,
) -> tuple[str, ...]:  # fmt: skip
    if do_rotary or past_present_share_buffer or past_length:
        raise ValueError("do_rotary and past_present_share_buffer are not supported")
    product = body.sum(body("MatMul", x, weight), bias)
    return attention_of_product(
        *(body, product, body.shapes[x], body.shapes[weight][1], mask, past, added),
        num_heads=num_heads, unidirectional=unidirectional, scale=scale, mask_filter_value=mask_filter_value,
        qkv_hidden_sizes=qkv_hidden_sizes, dtype=body.inputs[x].dtype,
    )  # fmt: skip


def attention_of_product(
    body: Body, product: str, shape: Sequence[int], columns: int, mask: str, past: str, added: str, *,
    num_heads: int, unidirectional: int, scale: float, mask_filter_value: float,
    qkv_hidden_sizes: Sequence[int] = (), dtype: str = "float32",
) -> tuple[str, ...]:  # fmt: skip
    """Write what is behind the product of the data, of this shape, and the weights of so many columns."""
    batch, rows, _ = shape
    body.describe(product, (batch, rows, columns), dtype)
    hidden = list(qkv_hidden_sizes) or [columns // 3] * 3
    if len(hidden) != 3 or sum(hidden) != columns or hidden[0] != hidden[1]:
        raise ValueError(f"its weights have {columns} columns, which are no queries, keys and values")
    depths = [head_depth(size, num_heads, "weights") for size in hidden]
    query, key, value = (
        split_heads(body, part, batch, rows, num_heads, depth)
        for part, depth in zip(body.split(product, hidden, axis=2), depths, strict=True)
    )
    before, present = body.shapes[past][3] if past else 0, ""
    if past:
        body.expect(past, "past", (dtype,), (2, batch, num_heads, "P", depths[0]))
        old = [body("Squeeze", part, body.constant([0])) for part in body.split(past, [1, 1], axis=0)]
        key, value = (body("Concat", *pair, axis=2) for pair in zip(old, (key, value), strict=True))
    if depths[0] == depths[2]:
        present = body(
            "Concat", *(body("Unsqueeze", part, body.constant([0])) for part in (key, value)), axis=0
        )
    sizes = Sizes(batch, num_heads, rows, rows + before, depths[0], depths[2], before)
    changes = _changes(body, added, mask, "mask_index", sizes, product, unidirectional, mask_filter_value)
    return weighted_values(body, query, key, value, sizes, scale=scale, changes=changes), present


def multi_head_attention(
    body: Body, query: str, key: str = "", value: str = "", bias: str = "", mask: str = "", added: str = "",
    past_key: str = "", past_value: str = "", past_length: str = "", beams: str = "", *,
    num_heads: int, unidirectional: int = 0, scale: float = 0.0, mask_filter_value: float = FILTERED,
) -> tuple[str, ...]:  # fmt: skip
    if past_length or beams:
        raise ValueError("past_sequence_length and cache_indirection are not supported")
    dtype = body.inputs[query].dtype
    batch, rows = body.shapes[query][:2]
    names, shapes = _three_operands(body, query, key, value, num_heads)
    if bias:
        names = _with_bias(body, names, shapes, bias, num_heads)
    query_, key_, value_ = (
        name
        if len(shape) == 4
        else split_heads(body, name, shape[0], shape[1], num_heads, shape[2] // num_heads)
        for name, shape in zip(names, shapes, strict=True)
    )
    depths = [shape[-1] if len(shape) == 4 else shape[2] // num_heads for shape in shapes]
    keys = shapes[1][2] if len(shapes[1]) == 4 else shapes[1][1]
    before = body.shapes[past_key][2] if past_key else 0
    if past_key or past_value:
        if not (past_key and past_value):
            raise ValueError("it has one of past_key and past_value; expected both or none")
        for name, what, depth in ((past_key, "past_key", depths[0]), (past_value, "past_value", depths[2])):
            body.expect(name, what, (dtype,), (batch, num_heads, before, depth))
        key_, value_ = (body("Concat", *pair, axis=2) for pair in ((past_key, key_), (past_value, value_)))
        keys += before
    sizes = Sizes(batch, num_heads, rows, keys, depths[0], depths[2], before)
    changes = _changes(body, added, mask, "key_padding_mask", sizes, query, unidirectional, mask_filter_value)
    return weighted_values(body, query_, key_, value_, sizes, scale=scale, changes=changes), key_, value_


def _changes(
    body: Body, bias: str, mask: str, what: str, sizes: Sizes, like: str, unidirectional: int, filtered: float
) -> tuple[str, ...]:
    """Return what is added to the scores."""
    if unidirectional and sizes.keys != sizes.queries + sizes.past:
        raise ValueError(
            f"unidirectional needs a key for each query; it has {sizes.queries} and {sizes.keys}"
        )
    if bias:
        check_bias(body, bias, like, sizes)
    hidden = mask_of_keys(body, mask, what, sizes, filtered, like) if mask else ""
    return bias, hidden, later_keys(body, sizes, like) if unidirectional else ""


def _three_operands(
    body: Body, query: str, key: str, value: str, heads: int
) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return queries, keys and values and their shapes, [B, S, heads * D] or [B, heads, S, D].

    Queries, keys and values may lie side by side as [B, S, heads, 3, D], keys and values as [B, S, heads, 2, D].
    """
    shape = body.shapes[query]
    if not key:
        return _unpacked(body, query, "query", heads, 3)
    if len(shape) != 3:
        raise ValueError(f"its query has {len(shape)} axes; expected 3, or 5 without a key")
    head_depth(shape[2], heads, "query")
    if not value:
        names, shapes = _unpacked(body, key, "key", heads, 2)
        return [query, *names], [shape, *shapes]
    shapes = [shape, body.shapes[key], body.shapes[value]]
    depth = shape[2] // heads
    dtypes = (body.inputs[query].dtype,)
    body.expect(key, "key", dtypes, (shape[0], "T", shape[2]), (shape[0], heads, "T", depth))
    keys = shapes[1][1] if len(shapes[1]) == 3 else shapes[1][2]
    body.expect(value, "value", dtypes, (shape[0], keys, "N"), (shape[0], heads, keys, "D"))
    if len(shapes[2]) == 3:
        head_depth(shapes[2][2], heads, "value")
    return [query, key, value], shapes


def _unpacked(
    body: Body, packed: str, what: str, heads: int, count: int
) -> tuple[list[str], list[tuple[int, ...]]]:
    shape = body.shapes[packed]
    body.expect(packed, what, (body.inputs[packed].dtype,), ("B", "S", heads, count, "D"))
    whole = (shape[0], shape[1], heads * shape[4])
    return [body.reshape(part, *whole) for part in body.split(packed, [1] * count, axis=3)], [whole] * count


def _with_bias(
    body: Body, names: Sequence[str], shapes: Sequence[tuple[int, ...]], bias: str, heads: int
) -> list[str]:
    """Return queries, keys and values with each one's part of the bias added."""
    widths = [shape[2] if len(shape) == 3 else heads * shape[3] for shape in shapes]
    body.expect(bias, "bias", (body.inputs[bias].dtype,), (int(np.sum(widths)),))
    parts = body.split(bias, widths, axis=0)
    return [
        # Keys and values that come head by head, from a cache or another layer, have theirs already.
        body("Add", name, part) if len(shape) == 3 else name
        for name, shape, part in zip(names, shapes, parts, strict=True)
    ]
