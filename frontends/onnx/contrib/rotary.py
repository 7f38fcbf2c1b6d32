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
    batch, rows = _batch_and_rows(body, x)
    body.expect(positions, "position_ids", ("int64",), (1,), (batch, rows))
    if body.shapes[positions] == (1,) and (batch, rows) != (1, 1):  # the first row's
        positions = body("Add", positions, body.constant(np.arange(rows)[None]))
    tables = tables_at(body, positions, cosines, sines)
    return _turned(body, x, tables, body.shapes[cosines][-1], num_heads, rotary_embedding_dim, interleaved)


def standard_rotary_embedding(
    body: Body, x: str, cosines: str, sines: str, positions: str = "", *,
    interleaved: int = 0, num_heads: int = 0, rotary_embedding_dim: int = 0,
) -> str:  # fmt: skip
    """Return what ONNX's own operator does: without positions each row has its own angles."""
    batch, rows = _batch_and_rows(body, x)
    if positions:
        body.expect(positions, "position_ids", ("int64",), (batch, rows))
        tables = tables_at(body, positions, cosines, sines)
    else:
        body.expect(cosines, "cos_cache", (body.inputs[x].dtype,), (batch, rows, "D/2"))
        body.expect(sines, "sin_cache", (body.inputs[x].dtype,), body.shapes[cosines])
        tables = (cosines, sines)
    if len(body.shapes[x]) == 3 and not num_heads:
        raise ValueError("its input has 3 axes, and num_heads is 0")
    return _turned(body, x, tables, body.shapes[cosines][-1], num_heads, rotary_embedding_dim, interleaved)


def _batch_and_rows(body: Body, x: str) -> tuple[int, int]:
    """Return the extents of ``[B, S, heads * D]`` or ``[B, heads, S, D]``."""
    shape = body.shapes[x]
    if len(shape) not in (3, 4):
        raise ValueError(f"its input has {len(shape)} axes; expected 3 or 4")
    return shape[0], shape[-2]


def tables_at(body: Body, positions: str, cosines: str, sines: str) -> tuple[str, str]:
    """Return cosines and sines of each row, ``[B or 1, S, pairs]``; ``ValueError`` for tables of unlike shapes."""
    body.expect(sines, "sin_cache", (body.inputs[cosines].dtype,), body.shapes[cosines])
    cos, sin = (body("Gather", table, positions, axis=0) for table in (cosines, sines))
    return cos, sin


def _turned(
    body: Body, x: str, tables: tuple[str, str], half: int, heads: int, dim: int, interleaved: int
) -> str:
    shape = body.shapes[x]
    if dim and dim != 2 * half:
        raise ValueError(
            f"its cos_cache turns {2 * half} numbers of a head, and rotary_embedding_dim is {dim}"
        )
    if len(shape) == 4:
        return rotate(body, x, shape[3], 1, tables, half, interleaved)
    batch, rows, hidden = shape
    depth = head_depth(hidden, heads or hidden // (2 * half), "input")
    x = body.reshape(x, batch, rows, hidden // depth, depth)
    return body.reshape(rotate(body, x, depth, 2, tables, half, interleaved), *shape)


def rotate(
    body: Body, x: str, depth: int, heads_axis: int, tables: tuple[str, str], half: int, interleaved: int
) -> str:
    """Return ``[B, S, heads, D]`` or ``[B, heads, S, D]`` turned, each row by its angles.

    Parameters
    ----------
    depth, heads_axis : D, and where the heads are.
    tables, half : cosines and sines ``[B or 1, S, half]``; the numbers of a head behind the first ``2 * half`` stay.
    interleaved : pairs are neighbours; else the halves of what turns.

    Raises
    ------
    ValueError : more angles than pairs.
    """
    if 2 * half > depth:
        raise ValueError(
            f"its cos_cache has {half} columns; a head has {depth} numbers, which are {depth // 2} pairs"
        )
    rest: list[str] = []
    if 2 * half < depth:
        x, *rest = body.split(x, [2 * half, depth - 2 * half], axis=3)
    # An axis of two has the parts of each pair, so that turning is elementwise: x cos + (the other part) (-+ sin).
    pair_axis = 4 if interleaved else 3
    cos, sin = (body("Unsqueeze", table, body.constant([heads_axis, pair_axis])) for table in tables)
    pairs = body("Reshape", x, body.constant([0, 0, 0, *([half, 2] if interleaved else [2, half])]))
    swapped = body("Slice", pairs, *(body.constant([value]) for value in (-1, -3, pair_axis, -1)))
    signs = body.like(np.array([-1.0, 1.0]).reshape([1, 2] if interleaved else [2, 1]), sin)
    turned = body("Add", body("Mul", pairs, cos), body("Mul", swapped, body("Mul", sin, signs)))
    turned = body("Reshape", turned, body.constant([0, 0, 0, 2 * half]))
    return body("Concat", turned, *rest, axis=3) if rest else turned
