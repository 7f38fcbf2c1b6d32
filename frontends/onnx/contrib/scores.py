"""What onnxruntime's attentions have in common: heads, masks, and the products around the softmax.

softmax(scale * Q K^T + bias + mask) V        Q, K, V: [B, heads, S, D]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .body import Body

MASKED = -1e30
"""A score that no key has: its share of a softmax is 0, and a row that has no other does not become NaN."""


@dataclass(frozen=True)
class Sizes:
    """The extents of an attention.

    Attributes
    ----------
    heads, depth, value_depth : of the queries, how many numbers each query and key has, and each value.
    queries, keys : rows and columns of the scores.
    past : how many keys stand before the first query's own.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    past: int = 0


def split_heads(body: Body, value: str, batch: int, rows: int, heads: int, depth: int) -> str:
    """Return [B, S, heads * D] as [B, heads, S, D]."""
    return body("Transpose", body.reshape(value, batch, rows, heads, depth), perm=[0, 2, 1, 3])


def join_heads(body: Body, value: str, sizes: Sizes) -> str:
    """Return [B, heads, S, D] as [B, S, heads * D]."""
    swapped = body("Transpose", value, perm=[0, 2, 1, 3])
    return body.reshape(swapped, sizes.batch, sizes.queries, sizes.heads * sizes.value_depth)


def head_depth(hidden: int, heads: int, what: str) -> int:
    """Return how many of ``hidden`` numbers each head has; raise ``ValueError`` where they do not divide."""
    if heads <= 0 or hidden % heads:
        raise ValueError(f"its {what} has {hidden} numbers a row, which {heads} heads do not share evenly")
    return hidden // heads


def weighted_values(
    body: Body, query: str, key: str, value: str, sizes: Sizes, *, scale: float, softcap: float = 0.0,
    changes: tuple[str, ...] = (), seen: str = "",
) -> str:  # fmt: skip
    """Return [B, S, heads * D] of queries, keys and values.

    Parameters
    ----------
    scale : 0 is 1 / sqrt(D).
    softcap : scores are ``softcap * tanh(score / softcap)``; 0 leaves them as they are.
    changes : what is added to scores, each broadcast to [B, heads, S, T]; ``""`` is nothing.
    seen : booleans, broadcast alike: the other scores take no part. ``""`` is all of them.
    """
    scores = body("MatMul", query, body("Transpose", key, perm=[0, 1, 3, 2]))
    scores = body("Mul", scores, body.number(scale or 1 / math.sqrt(sizes.depth), scores))
    if softcap:
        cap = body.number(softcap, scores)
        scores = body("Mul", body("Tanh", body("Div", scores, cap)), cap)
    scores = body.sum(scores, *changes)
    if seen:
        scores = body("Where", seen, scores, body.number(MASKED, scores))
    product = body("MatMul", body("Softmax", scores, axis=-1), value)
    return join_heads(body, product, sizes)


def later_keys(body: Body, sizes: Sizes, like: str) -> str:
    """Return what hides from each query the keys behind its own: [1, 1, S, T]."""
    behind = np.arange(sizes.keys) > np.arange(sizes.queries)[:, None] + sizes.past
    return body.like(np.where(behind, MASKED, 0.0)[None, None], like)


def mask_of_keys(body: Body, mask: str, what: str, sizes: Sizes, filtered: float, like: str) -> str:
    """Return a mask as what is added to scores, [B or 1, 1, S or 1, T].

    Masks are int32: [B, T] and [B, S, T] with 0 for a key that is hidden; [B] is how many keys are seen, the first
    ones; [2 B] is that, and behind it where they start.

    Raises
    ------
    ValueError : another dtype or shape.
    """
    batch, keys = sizes.batch, sizes.keys
    forms = ((batch, keys), (batch, sizes.queries, keys), (batch,), (2 * batch,))
    body.expect(mask, what, ("int32",), *forms)
    rank = len(body.shapes[mask])
    if rank == 1:
        places = body.constant(np.arange(keys), "int32")
        parts = body.split(mask, [batch] * (body.shapes[mask][0] // batch), axis=0)
        seen = body("Less", places, body.reshape(parts[0], batch, 1, 1, 1))
        for start in parts[1:]:
            seen = body("And", seen, body("GreaterOrEqual", places, body.reshape(start, batch, 1, 1, 1)))
    else:
        whole = (batch, 1, 1, keys) if rank == 2 else (batch, 1, sizes.queries, keys)
        seen = body("Greater", body.reshape(mask, *whole), body.constant(0, "int32"))
    return body("Where", seen, body.number(0.0, like), body.number(filtered, like))


def check_bias(body: Body, bias: str, like: str, sizes: Sizes) -> None:
    """Raise ``ValueError`` unless ``attention_bias`` can be added to the scores."""
    last = (sizes.queries, sizes.keys)
    forms = {(batch, heads, *last) for batch in (1, sizes.batch) for heads in (1, sizes.heads)}
    body.expect(bias, "attention_bias", (body.inputs[like].dtype,), *sorted(forms))
