"""Operators along axes: reductions, orders, running sums, normalizations, each a function that adds a node."""

from __future__ import annotations

import math

import numpy as np

from .draft import FLOATS, Draft


def softmax(draft: Draft, op_type: str) -> None:
    data = draft.value(1, dtype=draft.one_of(*FLOATS))
    draft.node(op_type, data, axis=draft.axis(draft.rank(data)) if draft.chance(0.8) else None)


def hardmax(draft: Draft, op_type: str) -> None:
    data = draft.input(draft.array(draft.shape(1)))
    draft.node(op_type, data, axis=draft.axis(draft.rank(data)) if draft.chance(0.8) else None)


def reduction(draft: Draft, op_type: str, low: float = -3) -> None:
    dtype = draft.one_of(*FLOATS, "int32", "int64")
    if (
        low > 0 or "Log" in op_type or "L2" in op_type or op_type == "ReduceSumSquare"
    ):  # ONNX's evaluator widens it
        dtype = draft.one_of(*FLOATS)
    if dtype.startswith("float") and low < 0:
        data = draft.value(1, dtype=dtype)
    else:
        data = draft.fresh(draft.shape(1), dtype, low)
    axes = draft.axes(draft.rank(data)) if draft.chance(0.85) else None
    keepdims = draft.one_of(0, 1, None)
    if draft.opset >= (13 if op_type == "ReduceSum" else 18):
        noop = draft.integer(0, 1) if axes is None else None
        draft.node(
            op_type,
            data,
            *([] if axes is None else [draft.constant(axes)]),
            keepdims=keepdims,
            noop_with_empty_axes=noop,
        )
    else:
        draft.node(op_type, data, axes=axes, keepdims=keepdims)


def arg_reduction(draft: Draft, op_type: str) -> None:
    array = np.round(draft.array(draft.shape(1), draft.one_of("float32", "int32", "int8", "float64"))).astype(
        "float32"
    )
    axis = draft.axis(array.ndim)
    draft.node(
        op_type,
        draft.input(array),
        axis=axis,
        keepdims=draft.integer(0, 1),
        select_last_index=draft.integer(0, 1),
    )


def top_k(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of("float32", "float64", "int32", "int64")
    shape = draft.shape(1)
    # All different: of equals, the reference may take any.
    array = draft.rng.permutation(math.prod(shape)).reshape(shape).astype(dtype)
    axis = draft.axis(len(shape))
    k = draft.constant([draft.integer(1, shape[axis])])
    draft.node(op_type, draft.input(array), k, outputs=2, axis=axis, largest=draft.integer(0, 1))


def running(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of("float32", "float64", "int32", "int64")
    data = draft.fresh(draft.shape(1), dtype)
    axis = draft.constant(np.array(draft.axis(draft.rank(data))))
    draft.node(op_type, data, axis, exclusive=draft.integer(0, 1), reverse=draft.integer(0, 1))


def batch_norm(draft: Draft, op_type: str) -> None:
    data = draft.value(2)
    channels = (draft.shape_of(data)[1],)
    parameters = [draft.fresh(channels) for _ in range(3)] + [draft.fresh(channels, low=0.1)]
    epsilon = draft.one_of(1e-5, 1e-3)
    shape = (1, -1, *(1 for _ in draft.shape_of(data)[2:]))
    scale, bias, mean, variance = (draft.values[name].astype("float64").reshape(shape) for name in parameters)
    result = (draft.values[data] - mean) / np.sqrt(variance + epsilon) * scale + bias
    draft.node(op_type, data, *parameters, epsilon=epsilon, expected=[result.astype("float32")])


def instance_norm(draft: Draft, op_type: str) -> None:
    data = draft.value(3)
    channels = (draft.shape_of(data)[1],)
    draft.node(
        op_type, data, draft.fresh(channels), draft.fresh(channels), epsilon=draft.one_of(None, 1e-3, 0.1)
    )


def layer_norm(draft: Draft, op_type: str) -> None:
    data = draft.fresh((*draft.shape(0, 3), draft.one_of(3, 7, 8, 33)))
    axis = draft.axis(draft.rank(data))
    shape = draft.shape_of(data)[axis:]
    parameters = [
        draft.fresh(shape) for _ in range(1 if op_type == "RMSNormalization" else draft.integer(1, 2))
    ]
    outputs = 1 if op_type == "RMSNormalization" else draft.one_of(1, 3)
    draft.node(op_type, data, *parameters, outputs=outputs, axis=axis, epsilon=draft.one_of(None, 1e-3))


def group_norm(draft: Draft, op_type: str) -> None:
    groups = draft.integer(1, 3)
    channels = groups * draft.integer(1, 3)
    data = draft.fresh(
        (draft.integer(1, 2), channels, *(draft.integer(2, 5) for _ in range(draft.integer(1, 3))))
    )
    count = channels if draft.opset >= 21 else groups
    draft.node(
        op_type,
        data,
        draft.fresh((count,)),
        draft.fresh((count,)),
        num_groups=groups,
        epsilon=draft.one_of(None, 1e-3),
    )


def mean_variance_norm(draft: Draft, op_type: str) -> None:
    data = draft.fresh((2, 3, 4, 5))
    draft.node(op_type, data, axes=draft.one_of(None, [0, 1, 2, 3], [2, 3], [0]))


def lrn(draft: Draft, op_type: str) -> None:
    data = draft.fresh((draft.integer(1, 2), draft.integer(1, 7), draft.integer(1, 4), draft.integer(1, 4)))
    size, alpha, beta, bias = (
        draft.one_of(1, 3, 4, 5),
        draft.one_of(1e-4, 0.1),
        draft.one_of(0.75, 0.5),
        draft.one_of(1.0, 2.0),
    )
    x = draft.values[data].astype("float64")
    # From floor((size - 1) / 2) channels before to ceil((size - 1) / 2) behind.
    squares = np.pad(x * x, ((0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)))
    total = sum(squares[:, at : at + x.shape[1]] for at in range(size))
    result = x / (bias + alpha / size * total) ** beta
    draft.node(
        op_type, data, size=size, alpha=alpha, beta=beta, bias=bias, expected=[result.astype("float32")]
    )


def lp_norm(draft: Draft, op_type: str) -> None:
    data = draft.value(1)
    axis, p = draft.axis(draft.rank(data)), draft.integer(1, 2)
    array = draft.values[data].astype("float64")
    norm = (np.abs(array) ** p).sum(axis, keepdims=True) ** (1 / p)
    draft.node(
        op_type, data, axis=axis, p=p, expected=[(array / np.where(norm == 0, 1, norm)).astype("float32")]
    )


def dft(draft: Draft, op_type: str) -> None:
    shape = (*draft.shape(1, 2), draft.integer(2, 9), draft.integer(1, 2))
    data = draft.fresh(shape)
    axis = draft.integer(1, len(shape) - 2) if len(shape) > 2 else 0
    one_sided = draft.integer(0, 1) if shape[-1] == 1 else 0
    inverse = 0 if one_sided else draft.integer(0, 1)
    length = draft.constant(np.array(draft.integer(2, 9))) if draft.chance(0.3) else ""
    if draft.opset >= 20:
        draft.node(op_type, data, length, draft.constant(np.array(axis)), inverse=inverse, onesided=one_sided)
    else:
        draft.node(
            op_type, data, *([length] if length else []), axis=axis, inverse=inverse, onesided=one_sided
        )
