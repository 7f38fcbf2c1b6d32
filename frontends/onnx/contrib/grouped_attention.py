"""``GroupQueryAttention``: several heads of queries share one of keys and values, behind a cache of earlier ones.

A batch entry has ``seqlens_k + 1`` keys, the last of which are those of this call. In the cache, keys stand from its
start on; what is behind them there is of no meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Body
from .rotary import rotate, tables_at
from .scores import Sizes, check_bias, head_depth, split_heads, weighted_values


def group_query_attention(
    body: Body, query: str, key: str = "", value: str = "", past_key: str = "", past_value: str = "",
    lengths: str = "", total: str = "", cosines: str = "", sines: str = "", positions: str = "", added: str = "",
    *others: str,
    num_heads: int, kv_num_heads: int, scale: float = 0.0, softcap: float = 0.0, do_rotary: int = 0,
    rotary_interleaved: int = 0, local_window_size: int = -1, causal: int = 1, smooth_softmax: int = 0,
    k_quant_type: bytes = b"NONE", v_quant_type: bytes = b"NONE", kv_cache_bit_width: int = 0, qk_output: int = 0,
    sliding_window_cache: int = 0, qk_norm_epsilon: float = 0.0, q_norm_epsilon: float = 0.0,
    k_norm_epsilon: float = 0.0,
) -> tuple[str, ...]:  # fmt: skip
    refused = {
        "smooth_softmax": smooth_softmax > 0,
        "sliding_window_cache": sliding_window_cache,
        "qk_output": qk_output,
        "a quantized cache": {k_quant_type, v_quant_type} != {b"NONE"} or kv_cache_bit_width,
        "an input behind attention_bias (head_sink, k_scale, q_norm_weight, ..)": any(others),
    }
    for what, is_asked in refused.items():
        if is_asked:
            raise ValueError(f"{what} is not supported")
    group = _Group.of(body, query, key, num_heads, kv_num_heads)
    dtype = body.inputs[query].dtype
    body.expect(lengths, "seqlens_k", ("int32",), (group.batch,), (group.batch, 1), (1,), (1, 1))
    cache = body.shapes[past_key][2] if past_key else 0
    for name, what in ((past_key, "past_key"), (past_value, "past_value")):
        if name:
            body.expect(name, what, (dtype,), (group.batch, kv_num_heads, cache, group.depth))
    if key:
        parts = [query, key, value]
        for name, what in ((key, "key"), (value, "value")):
            body.expect(name, what, (dtype,), (group.batch, group.rows, kv_num_heads * group.depth))
    else:
        parts = body.split(query, [heads * group.depth for heads in group.heads], axis=2)
    before = _lengths_before(body, lengths, group, cache)
    if do_rotary:
        places = positions or body("Add", before, body.constant(np.arange(group.rows)[None]))
        parts = [_rotated(body, part, group, heads, places, cosines, sines, rotary_interleaved)
                 for part, heads in zip(parts[:2], group.heads, strict=False)] + parts[2:]  # fmt: skip
    heads = [
        split_heads(body, part, group.batch, group.rows, count, group.depth)
        for part, count in zip(parts, group.heads, strict=True)
    ]
    keys = _present_length(body, total, cache, group.rows)
    presents = [
        _behind(body, past, new, before, group, cache, keys) if cache else new
        for past, new in zip((past_key, past_value), heads[1:], strict=True)
    ]
    sizes = Sizes(group.batch, num_heads, group.rows, keys, group.depth, group.depth)
    if added:
        check_bias(body, added, query, sizes)
    seen = _seen(body, before, lengths, sizes, causal, local_window_size)
    all_keys, all_values = (_repeated(body, present, group, keys) for present in presents)
    result = weighted_values(
        *(body, heads[0], all_keys, all_values, sizes),
        scale=scale,
        softcap=softcap,
        changes=(added,),
        seen=seen,
    )
    return result, *presents


@dataclass(frozen=True)
class _Group:
    """Extents of the new queries, keys and values; ``heads`` are those of each."""

    batch: int
    rows: int
    depth: int
    heads: tuple[int, int, int]

    @classmethod
    def of(cls, body: Body, query: str, key: str, heads: int, kv_heads: int) -> _Group:
        if len(body.shapes[query]) != 3:
            raise ValueError(f"its query has {len(body.shapes[query])} axes; expected 3")
        if kv_heads <= 0 or heads % kv_heads:
            raise ValueError(f"{heads} heads of queries do not share {kv_heads} of keys evenly")
        batch, rows, hidden = body.shapes[query]
        depth = head_depth(hidden, heads if key else heads + 2 * kv_heads, "query")
        return cls(batch, rows, depth, (heads, kv_heads, kv_heads))


def _present_length(body: Body, total: str, cache: int, rows: int) -> int:
    """Return how many keys there are: as many as the cache has room for, or as all take where that is more.

    A total that only the run knows is taken for that of a full cache.
    """
    known = body.inputs[total].value if total else None
    return cache + rows if known is None else max(cache, int(known.item()))


def _lengths_before(body: Body, lengths: str, group: _Group, cache: int) -> str:
    """Return how many keys of the cache each batch entry has: int64 [B, 1]."""
    if not cache:
        return body.constant(np.zeros((group.batch, 1)))
    whole = body.reshape(body("Cast", lengths, to=7), -1, 1)
    return body("Max", body("Sub", whole, body.constant(group.rows - 1)), body.constant(0))


def _rotated(
    body: Body, part: str, group: _Group, heads: int, places: str, cosines: str, sines: str, interleaved: int
) -> str:
    if not cosines or not sines:
        raise ValueError("do_rotary needs cos_cache and sin_cache")
    shape = (group.batch, group.rows, heads, group.depth)
    tables, half = tables_at(body, places, cosines, sines), body.shapes[cosines][1]
    turned = rotate(body, body.reshape(part, *shape), group.depth, 2, tables, half, interleaved)
    return body.reshape(turned, group.batch, group.rows, heads * group.depth)


def _behind(body: Body, past: str, new: str, before: str, group: _Group, cache: int, keys: int) -> str:
    """Return the cache with the new rows behind its own: [B, heads, keys, D]."""
    places = body.constant(np.arange(keys)[None])
    is_old = body("Less", places, before)
    newer = body("Add", body("Sub", places, before), body.constant(cache))
    index = body("Min", body("Where", is_old, places, newer), body.constant(cache + group.rows - 1))
    joined = body("Concat", past, new, axis=2)
    if group.batch == 1:
        return body("Gather", joined, body.reshape(index, keys), axis=2)
    shape = (group.batch, group.heads[1], keys, group.depth)
    index = body("Expand", body.reshape(index, -1, 1, keys, 1), body.constant(shape))
    return body("GatherElements", joined, index, axis=2)


def _seen(body: Body, before: str, lengths: str, sizes: Sizes, causal: int, window: int) -> str:
    """Return which keys each query sees: booleans [B, 1, S, T].

    They are those up to its own, or the last ``window`` of these; without causality all that the entry has.
    """
    places = body.constant(np.arange(sizes.keys)[None, None])
    own = body("Add", body.reshape(before, -1, 1, 1), body.constant(np.arange(sizes.queries)[None, :, None]))
    if not causal:
        last = body.reshape(body("Cast", lengths, to=7), -1, 1, 1)
        return body("Unsqueeze", body("LessOrEqual", places, last), body.constant([1]))
    seen = body("LessOrEqual", places, own)
    if window > 0:
        first = body("Sub", own, body.constant(window))
        seen = body("And", seen, body("Greater", places, first))
    return body("Unsqueeze", seen, body.constant([1]))


def _repeated(body: Body, value: str, group: _Group, keys: int) -> str:
    """Return keys or values with each head as often as it has heads of queries."""
    heads, kv_heads, _ = group.heads
    if heads == kv_heads:
        return value
    whole = (group.batch, kv_heads, heads // kv_heads, keys, group.depth)
    wide = body("Expand", body("Unsqueeze", value, body.constant([2])), body.constant(whole))
    return body.reshape(wide, group.batch, heads, keys, group.depth)
