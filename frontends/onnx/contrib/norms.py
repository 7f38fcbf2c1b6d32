"""Normalizations, with the sums in front of them."""

from __future__ import annotations

import numpy as np

from .body import Body


def skip_layer_normalization(
    body: Body, x: str, skip: str, gamma: str, beta: str = "", bias: str = "", *, epsilon: float = 1e-12
) -> tuple[str, ...]:
    total = body.sum(x, skip, bias)
    normalized = body("LayerNormalization", total, gamma, *([beta] if beta else []), epsilon=epsilon)
    return normalized, "", "", total


def simplified_layer_normalization(
    body: Body, x: str, scale: str, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[str, ...]:
    axes = body.constant(np.arange(axis % len(body.shapes[x]), len(body.shapes[x])))
    wide = body("Cast", x, to=stash_type)
    mean = body("ReduceMean", body("Mul", wide, wide), axes, keepdims=1)
    root = body("Sqrt", body("Add", mean, body.number(epsilon, mean)))
    normalized = body("Mul", body("CastLike", body("Div", wide, root), x), scale)
    return normalized, body("Reciprocal", root)


def skip_simplified_layer_normalization(
    body: Body, x: str, skip: str, gamma: str, bias: str = "", *, epsilon: float = 1e-12
) -> tuple[str, ...]:
    total = body.sum(x, skip, bias)
    body.shapes = {**body.shapes, total: body.shapes[x]}
    return simplified_layer_normalization(body, total, gamma, epsilon=epsilon)[0], "", "", total


def embed_layer_normalization(
    body: Body,
    ids: str,
    segments: str,
    words: str,
    positions: str,
    segment_table: str,
    gamma: str,
    beta: str,
    mask: str = "",
    position_ids: str = "",
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
) -> tuple[str, ...]:
    if not position_ids:
        position_ids = body.constant(np.arange(body.shapes[ids][1])[None])
    parts = [body("Gather", words, ids), body("Gather", positions, position_ids)]
    if segments:
        parts.append(body("Gather", segment_table, segments))
    total = body.sum(*parts)
    normalized = body("LayerNormalization", total, gamma, beta, epsilon=epsilon)
    if mask:
        index = body("ReduceSum", mask, body.constant([1]), keepdims=0)
    else:
        index = body.constant(np.zeros(body.shapes[ids][0]), "int32")
    return normalized, index, total


def group_norm(
    body: Body,
    x: str,
    gamma: str,
    beta: str,
    *,
    groups: int,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
) -> str:
    if activation not in (0, 1):
        raise ValueError(f"activation {activation} is unknown; 0 is none, and 1 is SiLU")
    rank = len(body.shapes[x])
    channels = body.shapes[x][-1 if channels_last else 1]
    if channels % groups:
        raise ValueError(f"{groups} groups do not divide {channels} channels")
    if channels_last:
        x = body("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    one, zero = body.like(np.ones(groups), gamma), body.like(np.zeros(groups), gamma)
    normal = body(
        "CastLike", body("GroupNormalization", x, one, zero, num_groups=groups, epsilon=epsilon), gamma
    )
    shape = (channels, *(1 for _ in range(rank - 2)))
    result = body("Add", body("Mul", normal, body.reshape(gamma, *shape)), body.reshape(beta, *shape))
    result = body("CastLike", result, x)
    if activation:
        result = body("Mul", result, body("Sigmoid", result))
    return body("Transpose", result, perm=[0, *range(2, rank), 1]) if channels_last else result


def skip_group_norm(
    body: Body, x: str, gamma: str, beta: str, skip: str, bias: str = "", *, channels_last: int = 1, **norm
) -> tuple[str, ...]:
    shape = body.shapes[x]
    channels = shape[-1 if channels_last else 1]
    behind = 0 if channels_last else len(shape) - 2
    if len(body.shapes[skip]) == 2:  # [N, C]: the same for all places
        places = (1,) * (len(shape) - 2)
        skip = body.reshape(skip, *((-1, *places, channels) if channels_last else (-1, channels, *places)))
    if bias:
        bias = body.reshape(bias, channels, *(1 for _ in range(behind)))
    total = body.sum(x, skip, bias)
    body.shapes = {**body.shapes, total: shape}
    return group_norm(body, total, gamma, beta, channels_last=channels_last, **norm), total
