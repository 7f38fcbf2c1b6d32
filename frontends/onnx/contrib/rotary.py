"""Rotary position embedding: each pair of numbers of a head turns by an angle that grows with the position.

    (a, b)  -->  (a cos - b sin, b cos + a sin)

Source: Su et al., RoFormer, 2021 (https://arxiv.org/abs/2104.09864).
"""

from __future__ import annotations

import numpy as np

from .body import Body
from .scores import head_depth


def rotary_embedding(
    body: Body, x: str, positions: str, cosines: str, sines: str, *,
    interleaved: int = 0, num_heads: int = 0, rotary_embedding_dim: int = 0, scale: float = 1.0,
    is_packed_batching: int = 0,
) -> str:  # fmt: skip
    if is_packed_batching or scale != 1.0:
        raise ValueError("is_packed_batching and scale are not supported")
    shape = body.shapes[x]
    turned = 2 * body.shapes[cosines][1]
    if rotary_embedding_dim and rotary_embedding_dim != turned:
        raise ValueError(
            f"its cos_cache turns {turned} numbers of a head, and rotary_embedding_dim is {rotary_embedding_dim}"
        )
    if len(shape) == 4:
        batch, heads, rows, depth = shape
        swapped = body("Transpose", x, perm=[0, 2, 1, 3])
    else:
        batch, rows, hidden = shape
        depth = head_depth(hidden, num_heads, "input") if num_heads else turned
        heads = hidden // depth
        swapped = body.reshape(x, batch, rows, heads, depth)
    body.expect(positions, "position_ids", ("int64",), (1,), (batch, rows))
    if body.shapes[positions] == (1,) and (batch, rows) != (1, 1):  # the first row's
        positions = body("Add", positions, body.constant(np.arange(rows)[None]))
    rotated = rotate(body, swapped, (batch, rows, heads, depth), positions, cosines, sines, interleaved)
    if len(shape) == 4:
        return body("Transpose", rotated, perm=[0, 2, 1, 3])
    return body.reshape(rotated, *shape)


def rotate(
    body: Body,
    x: str,
    shape: tuple[int, int, int, int],
    positions: str,
    cosines: str,
    sines: str,
    interleaved: int,
) -> str:
    """Return ``[B, S, heads, D]`` turned by the positions of its rows.

    Parameters
    ----------
    positions : int64, [B, S] or [1, S].
    cosines, sines : [positions, D / 2], or fewer columns where the last numbers of a head do not turn.
    interleaved : pairs are neighbours; else the halves of what turns.

    Raises
    ------
    ValueError : tables of unlike shapes, or of more columns than pairs.
    """
    batch, rows, heads, depth = shape
    half = body.shapes[cosines][1]
    body.expect(sines, "sin_cache", (body.inputs[cosines].dtype,), body.shapes[cosines])
    if 2 * half > depth:
        raise ValueError(
            f"its cos_cache has {half} columns; a head has {depth} numbers, which are {depth // 2} pairs"
        )
    cos, sin = (
        body("Unsqueeze", body("Gather", table, positions, axis=0), body.constant([2]))
        for table in (cosines, sines)
    )
    rest: list[str] = []
    if 2 * half < depth:
        x, *rest = body.split(x, [2 * half, depth - 2 * half], axis=3)
    if interleaved:
        pairs = body.split(body.reshape(x, batch, rows, heads, half, 2), [1, 1], axis=4)
        first, second = (body.reshape(part, batch, rows, heads, half) for part in pairs)
    else:
        first, second = body.split(x, [half, half], axis=3)
    turned = [
        body("Sub", body("Mul", first, cos), body("Mul", second, sin)),
        body("Add", body("Mul", second, cos), body("Mul", first, sin)),
    ]
    if interleaved:
        parts = [body("Unsqueeze", part, body.constant([4])) for part in turned]
        turned = [body.reshape(body("Concat", *parts, axis=4), batch, rows, heads, 2 * half)]
    whole = [*turned, *rest]
    return whole[0] if len(whole) == 1 else body("Concat", *whole, axis=3)
