"""One function an operator, or a kind of them: it adds a node with random inputs and attributes.

An operator that jumps (rounds, compares, picks) reads inputs of the graph, never results, whose last bits may differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from onnx import helper, numpy_helper

from tvmq.passes import arithmetic

from . import formulas
from .draft import Draft, Graph

FLOATS = ("float32", "float32", "float32", "float16", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = (*SIGNED, "uint8", "uint16", "uint32", "uint64")


def _broadcast_pair(draft: Draft) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two shapes that broadcast together."""
    whole = draft.shape()
    pair = []
    for _ in range(2):
        own = tuple(1 if draft.chance(0.25) else extent for extent in whole)
        pair.append(own[draft.integer(0, len(own)) :] if draft.chance(0.3) else own)
    if draft.chance():
        pair[0] = whole
    return pair[0], pair[1]


def unary(draft: Draft, op_type: str, low: float = -3, high: float = 3, **attributes) -> None:
    dtype = draft.one_of(*FLOATS)
    if (low, high) == (-3, 3) and draft.chance(0.6):
        data = draft.value(dtype=dtype)
    else:
        data = draft.fresh(draft.shape(), dtype, low, high)
    given = {name: draw(draft) for name, draw in attributes.items() if draft.chance(0.7)}
    # ONNX's evaluator fails on scalars here.
    x = draft.values[data]
    expected = [np.asarray(x / (1 + np.abs(x)), x.dtype)] if op_type == "Softsign" else None
    draft.node(op_type, data, expected=expected, **given)


def _between(low: float, high: float) -> Callable[[Draft], float]:
    return lambda draft: float(draft.rng.uniform(low, high))


def jump(draft: Draft, op_type: str) -> None:
    """Ceil, Floor, Round, Sign: of fresh inputs, halves among them."""
    array = np.round(draft.array(draft.shape(), draft.one_of(*FLOATS)) * 4) / 4
    draft.node(op_type, draft.input(array.astype(array.dtype)))


def signed_unary(draft: Draft, op_type: str) -> None:
    """Abs, Neg, Sign of integers."""
    draft.node(op_type, draft.fresh(draft.shape(), draft.one_of(*SIGNED), -100, 100))


def binary(
    draft: Draft, op_type: str, low: float = -3, dtypes: tuple[str, ...] = (*FLOATS, *INTEGERS)
) -> None:
    dtype = draft.one_of(*dtypes)
    left, right = _broadcast_pair(draft)
    if dtype == "float32" and draft.chance(0.3) and low < 0:
        a = draft.value()
        draft.node(op_type, a, draft.fresh(draft.shape_of(a), dtype))
        return
    draft.node(op_type, draft.fresh(left, dtype, low), draft.fresh(right, dtype, low))


def divide(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of(*FLOATS, *INTEGERS)
    left, right = _broadcast_pair(draft)
    divisor = draft.array(right, dtype, 1, 9)
    if not dtype.startswith("uint"):
        divisor = divisor * draft.rng.choice([-1, 1], right).astype(dtype)
    divisor = np.asarray(divisor, dtype)
    draft.node(op_type, draft.fresh(left, dtype, -100, 100), draft.input(divisor))


def modulo(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of("float32", "float64", *INTEGERS)
    left, right = _broadcast_pair(draft)
    divisor = draft.array(right, dtype, 1, 9)
    if not dtype.startswith("uint"):
        divisor = divisor * draft.rng.choice([-1, 1], right).astype(dtype)
    fmod = 1 if dtype.startswith("float") else draft.integer(0, 1)
    draft.node(
        op_type,
        draft.input(draft.array(left, dtype, -20, 20)),
        draft.input(np.asarray(divisor, dtype)),
        fmod=fmod,
    )


def power(draft: Draft, op_type: str) -> None:
    base, exponent = _broadcast_pair(draft)
    if draft.chance():
        b = draft.fresh(base, draft.one_of(*FLOATS), 0.2, 3)
        draft.node(op_type, b, draft.fresh(exponent, draft.one_of("float32", "int32", "int64"), -2, 2))
    else:
        b = draft.fresh(base, draft.one_of("int32", "int64"), -5, 5)
        draft.node(op_type, b, draft.fresh(exponent, draft.one_of("int32", "int64"), 0, 4))


def compare(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of(*FLOATS, *INTEGERS, *(["bool"] if op_type == "Equal" else []))
    left, right = (
        np.round(draft.array(shape, dtype).astype("float64")).astype(dtype)
        for shape in _broadcast_pair(draft)
    )
    draft.node(op_type, draft.input(left), draft.input(right))


def logical(draft: Draft, op_type: str) -> None:
    left, right = _broadcast_pair(draft)
    draft.node(op_type, draft.fresh(left, "bool"), draft.fresh(right, "bool"))


def logical_not(draft: Draft, op_type: str) -> None:
    draft.node(op_type, draft.fresh(draft.shape(), "bool"))


def bitwise(draft: Draft, op_type: str) -> None:
    left, right = _broadcast_pair(draft)
    dtype = draft.one_of(*INTEGERS)
    draft.node(op_type, draft.fresh(left, dtype, -100, 100), draft.fresh(right, dtype, -100, 100))


def bitwise_not(draft: Draft, op_type: str) -> None:
    draft.node(op_type, draft.fresh(draft.shape(), draft.one_of(*INTEGERS), -100, 100))


def bit_shift(draft: Draft, op_type: str) -> None:
    left, right = _broadcast_pair(draft)
    dtype = draft.one_of("uint8", "uint16", "uint32", "uint64")
    counts = draft.input(draft.array(right, dtype, 0, 7))
    draft.node(
        op_type,
        draft.input(draft.array(left, dtype, 0, 100)),
        counts,
        direction=draft.one_of("LEFT", "RIGHT"),
    )


def several(draft: Draft, op_type: str) -> None:
    """Sum, Max, Min, Mean of one to four values."""
    dtype = draft.one_of(*FLOATS) if op_type in ("Sum", "Mean") else draft.one_of(*FLOATS, *INTEGERS)
    first, second = _broadcast_pair(draft)
    shapes = [draft.one_of(first, second) for _ in range(draft.integer(1, 4))]
    names = [draft.fresh(shape, dtype) for shape in shapes]
    arrays = np.broadcast_arrays(*(draft.values[name] for name in names))
    combine = {"Sum": np.sum, "Mean": np.mean, "Max": np.max, "Min": np.min}[op_type]
    draft.node(op_type, *names, expected=[combine(np.stack(arrays), 0).astype(dtype)])


def is_special(draft: Draft, op_type: str) -> None:
    array = draft.array(draft.shape(), draft.one_of("float32", "float64"))
    flat = array.reshape(-1).copy()
    for at, value in enumerate((np.nan, np.inf, -np.inf)):
        flat[at::5] = value if draft.chance() else flat[at::5]
    attributes = (
        {}
        if op_type == "IsNaN"
        else {"detect_negative": draft.integer(0, 1), "detect_positive": draft.integer(0, 1)}
    )
    draft.node(op_type, draft.input(flat.reshape(array.shape)), **attributes)


def clip(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of(*FLOATS, *INTEGERS)
    data = draft.value(dtype=dtype) if dtype.startswith("float") else draft.fresh(draft.shape(), dtype)
    bounds = [draft.constant(np.array(bound, dtype)) if draft.chance(0.7) else "" for bound in (1, 2)]
    while bounds and not bounds[-1]:
        bounds.pop()
    draft.node(op_type, data, *bounds)


def where(draft: Draft, op_type: str) -> None:
    left, right = _broadcast_pair(draft)
    dtype = draft.one_of(*FLOATS, *INTEGERS, "bool")
    condition = draft.fresh(draft.one_of(left, right, ()), "bool")
    draft.node(op_type, condition, draft.fresh(left, dtype), draft.fresh(right, dtype))


def p_relu(draft: Draft, op_type: str) -> None:
    data = draft.value(1)
    shape = draft.shape_of(data)
    own = tuple(1 if draft.chance(0.4) else extent for extent in shape)
    draft.node(op_type, data, draft.fresh(own[draft.integer(0, len(own)) :] if draft.chance(0.4) else own))


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


def transpose(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(), draft.one_of(*FLOATS, *INTEGERS, "bool"))
    rank = draft.rank(data)
    perm = [int(axis) for axis in draft.rng.permutation(rank)] if draft.chance(0.8) and rank else None
    draft.node(op_type, data, perm=perm)


def reshape(draft: Draft, op_type: str) -> None:
    data = draft.value()
    shape = list(draft.shape_of(data))
    order = [int(extent) for extent in draft.rng.permutation(shape)] if shape else [1]
    if draft.chance() and order:
        order[draft.integer(0, len(order) - 1)] = -1
    draft.node(op_type, data, draft.constant(order))


def flatten(draft: Draft, op_type: str) -> None:
    data = draft.value()
    rank = draft.rank(data)
    draft.node(op_type, data, axis=draft.integer(-rank, rank) if draft.chance(0.8) or not rank else None)


def squeeze(draft: Draft, op_type: str) -> None:
    shape = [1 if draft.chance(0.4) else extent for extent in draft.shape(1)]
    data = draft.fresh(tuple(shape))
    ones = [axis - len(shape) * draft.chance(0.3) for axis, extent in enumerate(shape) if extent == 1]
    draft.node(op_type, data, *([draft.constant(ones)] if ones and draft.chance(0.7) else []))


def unsqueeze(draft: Draft, op_type: str) -> None:
    data = draft.value(0, 3)
    count = draft.integer(1, 2)
    rank = draft.rank(data) + count
    axes = [int(axis) - rank * draft.chance(0.3) for axis in draft.rng.permutation(rank)[:count]]
    draft.node(op_type, data, draft.constant(axes))


def expand(draft: Draft, op_type: str) -> None:
    left, right = _broadcast_pair(draft)
    draft.node(
        op_type,
        draft.fresh(left, draft.one_of(*FLOATS, *INTEGERS)),
        draft.constant(np.array(right, np.int64)),
    )


def tile(draft: Draft, op_type: str) -> None:
    data = draft.value(1, 4)
    draft.node(op_type, data, draft.constant([draft.integer(1, 3) for _ in range(draft.rank(data))]))


def concat(draft: Draft, op_type: str) -> None:
    shape, dtype = list(draft.shape(1)), draft.one_of(*FLOATS, *INTEGERS)
    axis = draft.axis(len(shape))
    parts = []
    for _ in range(draft.integer(1, 4)):
        shape[axis] = draft.integer(1, 5)
        parts.append(draft.fresh(tuple(shape), dtype))
    draft.node(op_type, *parts, axis=axis)


def split(draft: Draft, op_type: str) -> None:
    data = draft.value(1)
    axis = draft.axis(draft.rank(data))
    extent = draft.shape_of(data)[axis]
    cuts = sorted({draft.integer(1, extent) for _ in range(2)} | {extent})
    sizes = np.diff([0, *cuts])
    if draft.opset >= 18 and draft.chance():
        count = draft.integer(1, extent)
        if -(-extent // -(-extent // count)) == count:  # else a last part would be empty
            draft.node(op_type, data, outputs=count, axis=axis, num_outputs=count)
            return
    draft.node(op_type, data, draft.constant(sizes), outputs=len(sizes), axis=axis)


def slice_(draft: Draft, op_type: str) -> None:
    data = draft.value(1)
    shape = draft.shape_of(data)
    axes = draft.axes(len(shape))
    starts, ends, steps = [], [], []
    for axis in axes:
        extent = shape[axis]
        step = draft.one_of(1, 1, 2, 3, -1, -2)
        first = draft.integer(0, extent - 1)
        last = draft.integer(first + 1, extent + 3) if step > 0 else draft.integer(-1, first - 1)
        if step < 0:
            ends.append(-extent - 5 if last < 0 else last)
        else:
            ends.append(draft.one_of(last, np.iinfo(np.int64).max) if last > extent else last)
        starts.append(first - extent * draft.chance(0.3))
        steps.append(step)
    dtype = draft.one_of("int64", "int32")
    bounded = [
        np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
        for values in (starts, ends, axes, steps)
    ]
    draft.node(op_type, data, *(draft.constant(values) for values in bounded))


def pad(draft: Draft, op_type: str) -> None:
    mode = draft.one_of("constant", "reflect", "edge", *(["wrap"] if draft.opset >= 19 else []))
    shape = draft.shape(1, 4)
    dtype = draft.one_of(*FLOATS, "int32", "int8", "int64")
    data = draft.fresh(shape, dtype)
    most = {"reflect": lambda n: n - 1, "wrap": lambda n: n, "edge": lambda n: 3, "constant": lambda n: 3}[
        mode
    ]
    pads = [draft.integer(0, max(0, min(3, most(extent)))) for _ in range(2) for extent in shape]
    if mode == "constant" and draft.chance(0.2):
        pads[0] = -min(1, shape[0] - 1)
    extra = (
        [draft.constant(np.array(draft.integer(-2, 2), dtype))]
        if mode == "constant" and draft.chance()
        else []
    )
    draft.node(op_type, data, draft.constant(pads), *extra, mode=mode)


def gather(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(1, 4), draft.one_of(*FLOATS, *INTEGERS))
    axis = draft.axis(draft.rank(data))
    extent = draft.shape_of(data)[axis]
    indices = draft.array(draft.shape(0, 2), draft.one_of("int32", "int64"), -extent, extent - 1)
    draft.node(op_type, data, draft.fresh_of(indices), axis=axis)


def gather_elements(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(1, 4))
    axis = draft.axis(draft.rank(data))
    shape = list(draft.shape_of(data))
    extent = shape[axis]
    shape[axis] = draft.integer(1, 5)
    indices = draft.array(tuple(shape), draft.one_of("int32", "int64"), -extent, extent - 1)
    taken = np.take_along_axis(draft.values[data], indices.astype("int64"), axis)
    draft.node(op_type, data, draft.fresh_of(indices), axis=axis, expected=[taken])


def gather_nd(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(1, 4))
    shape = draft.shape_of(data)
    batch = draft.integer(0, min(1, len(shape) - 1))
    depth = draft.integer(1, len(shape) - batch)
    outer = (*shape[:batch], *draft.shape(0, 2)) if draft.chance() else (*shape[:batch], draft.integer(1, 4))
    indices = np.stack(
        [draft.array(outer, "int64", -extent, extent - 1) for extent in shape[batch : batch + depth]], -1
    )
    draft.node(op_type, data, draft.fresh_of(indices), batch_dims=batch)


def scatter_elements(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(1, 4))
    axis = draft.axis(draft.rank(data))
    shape = list(draft.shape_of(data))
    extent = shape[axis]
    shape[axis] = draft.integer(1, extent)
    # Different positions along the axis: which of two writes wins is undefined.
    order = np.argsort(draft.rng.random(draft.shape_of(data)), axis)
    indices = np.take(order, range(shape[axis]), axis) - extent * draft.chance(0.3)
    reduction = None
    if draft.opset >= 16 and draft.chance():
        reduction = draft.one_of("add", "mul", *(["min", "max"] if draft.opset >= 18 else []))
    updates = draft.fresh(tuple(shape))
    draft.node(op_type, data, draft.input(indices.astype("int64")), updates, axis=axis, reduction=reduction)


def scatter_nd(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(1, 4))
    shape = draft.shape_of(data)
    depth = draft.integer(1, len(shape))
    places = np.array(list(np.ndindex(*shape[:depth])))
    chosen = places[draft.rng.permutation(len(places))[: draft.integer(1, min(4, len(places)))]]
    updates = draft.fresh((len(chosen), *shape[depth:]))
    reduction = draft.one_of("add", "mul") if draft.opset >= 16 and draft.chance() else None
    draft.node(op_type, data, draft.input(chosen), updates, reduction=reduction)


def one_hot(draft: Draft, op_type: str) -> None:
    depth = draft.integer(1, 7)
    indices = draft.input(
        draft.array(draft.shape(0, 3), draft.one_of("int32", "int64", "float32"), -depth, depth - 1).round()
    )
    values = draft.constant(draft.array((2,), draft.one_of("float32", "int32", "int64")))
    axis = draft.integer(-draft.rank(indices) - 1, draft.rank(indices))
    draft.node(op_type, indices, draft.constant(np.array(depth)), values, axis=axis)


def cast(draft: Draft, op_type: str) -> None:
    dtypes = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool")
    source, target = draft.one_of(*dtypes), draft.one_of(*dtypes)
    low = 0 if target.startswith("uint") or source.startswith("uint") else -100
    data = draft.input(draft.array(draft.shape(), source, low, 100))
    if op_type == "CastLike":
        draft.node(op_type, data, draft.input(draft.array((1,), target)))
    else:
        draft.node(op_type, data, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


def trilu(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(2), draft.one_of("float32", "int64", "bool"))
    k = [draft.constant(np.array(draft.integer(-3, 3)))] if draft.chance(0.7) else []
    draft.node(op_type, data, *k, upper=draft.one_of(0, 1, None))


def eye_like(draft: Draft, op_type: str) -> None:
    draft.node(
        op_type,
        draft.input(draft.array(draft.shape(2, 2))),
        k=draft.integer(-2, 2),
        dtype=draft.one_of(1, 6, 7, None),
    )


def reverse_sequence(draft: Draft, op_type: str) -> None:
    data = draft.fresh(draft.shape(2, 4))
    time = draft.integer(0, 1)
    steps, batch = draft.shape_of(data)[time], draft.shape_of(data)[1 - time]
    lengths = draft.fresh_of(draft.array((batch,), "int64", 1, steps))
    draft.node(op_type, data, lengths, time_axis=time, batch_axis=1 - time)


def depth_to_space(draft: Draft, op_type: str) -> None:
    block = draft.integer(1, 3)
    batch, channels, height, width = (draft.integer(1, 3) for _ in range(4))
    if op_type == "DepthToSpace":
        data = draft.fresh((batch, channels * block * block, height, width))
        draft.node(op_type, data, blocksize=block, mode=draft.one_of("DCR", "CRD", None))
    else:
        draft.node(op_type, draft.fresh((batch, channels, height * block, width * block)), blocksize=block)


def compress(draft: Draft, op_type: str) -> None:
    data = draft.value(1, 3)
    axis = draft.axis(draft.rank(data)) if draft.chance() else None
    extent = draft.values[data].size if axis is None else draft.shape_of(data)[axis]
    condition = draft.array((draft.integer(1, extent),), "bool")
    condition[0] = True
    draft.node(op_type, data, draft.constant(condition), axis=axis)


def matmul(draft: Draft, op_type: str) -> None:
    m, k, n = (draft.one_of(1, 2, 3, 7, 8, 9, 16, 33) for _ in range(3))
    batch = draft.shape(0, 2)
    dtype = draft.one_of("float32", "float32", "float32", "float64", "int32")
    left, right = (*batch, m, k), (*batch[draft.integer(0, len(batch)) :], k, n)
    if draft.chance(0.15):
        left = (k,)
    if draft.chance(0.15):
        right = (k,)
    draft.node(op_type, draft.fresh(left, dtype), draft.fresh(right, dtype))


def gemm(draft: Draft, op_type: str) -> None:
    m, k, n = (draft.one_of(1, 2, 3, 7, 8, 9, 16, 33) for _ in range(3))
    flips = draft.integer(0, 1), draft.integer(0, 1)
    a, b = ((k, m) if flips[0] else (m, k)), ((n, k) if flips[1] else (k, n))
    c = [draft.fresh(draft.one_of((n,), (m, n), (m, 1), (1, n), (1,), ()))] if draft.chance(0.7) else []
    attributes = {"alpha": draft.one_of(None, 0.5), "beta": draft.one_of(None, 0.25, 0.0)}
    draft.node(op_type, draft.fresh(a), draft.fresh(b), *c, transA=flips[0], transB=flips[1], **attributes)


def einsum(draft: Draft, op_type: str) -> None:
    equation, shapes = draft.one_of(
        ("ij,jk->ik", ((3, 5), (5, 7))), ("bij,bjk->bik", ((2, 3, 5), (2, 5, 4))), ("ij->ji", ((3, 5),)),
        ("bhid,bhjd->bhij", ((1, 2, 3, 4), (1, 2, 5, 4))), ("ij,ij->i", ((3, 4), (3, 4))), ("ij->i", ((3, 4),)),
        ("i,j->ij", ((3,), (4,))), ("bthd,bshd->bhts", ((1, 3, 2, 4), (1, 5, 2, 4))),
    )  # fmt: skip
    draft.node(op_type, *(draft.fresh(shape) for shape in shapes), equation=equation)


def _spatial(draft: Draft) -> tuple[tuple[int, ...], tuple[int, ...], list[int], list[int]]:
    """Return extents, kernel, strides and dilations of one to three axes."""
    rank = draft.one_of(1, 2, 2, 2, 3)
    extents = tuple(draft.integer(3, 9) for _ in range(rank))
    kernel = tuple(draft.integer(1, 3) for _ in range(rank))
    strides = [draft.integer(1, 3) for _ in range(rank)]
    dilations = [draft.integer(1, 2) if (k - 1) * 2 < n else 1 for k, n in zip(kernel, extents, strict=True)]
    return extents, kernel, strides, dilations


def _padded(
    draft: Draft, extents: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> tuple[dict, list[int]]:
    """Return attributes that ask for padding, and the pads that they come to."""
    rank = len(kernel)
    mode = draft.one_of("pads", "pads", "VALID", "SAME_UPPER", "SAME_LOWER", None)
    if mode == "pads":
        pads = [draft.integer(0, k - 1) for _ in range(2) for k in kernel]
        return {"pads": pads}, pads
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        return {"auto_pad": mode}, formulas.same_pads(extents, kernel, strides, dilations, mode)
    return {"auto_pad": mode}, [0] * (2 * rank)


def convolution(draft: Draft, op_type: str) -> None:
    extents, kernel, strides, dilations = _spatial(draft)
    groups, channels, filters = _channels(draft)
    attributes, pads = _padded(draft, extents, kernel, strides, dilations)
    data = draft.fresh((draft.integer(1, 2), channels, *extents))
    weights = draft.array((filters, channels // groups, *kernel))
    weight = draft.constant(weights) if draft.chance(0.8) else draft.input(weights)
    bias = [draft.fresh((filters,))] if draft.chance() else []
    arrays = [draft.values[name] for name in (data, weight, *bias)] + [None] * (1 - len(bias))
    draft.node(
        op_type, data, weight, *bias, strides=strides, dilations=dilations, group=groups, **attributes,
        kernel_shape=draft.one_of(None, kernel),
        expected=[formulas.convolution(*arrays, strides, dilations, pads, groups)],
    )  # fmt: skip


def _channels(draft: Draft) -> tuple[int, int, int]:
    groups = draft.one_of(1, 1, 2, 3)
    channels, filters = groups * draft.integer(1, 4), groups * draft.integer(1, 4)
    return (channels, channels, channels) if draft.chance(0.2) else (groups, channels, filters)


def transposed_convolution(draft: Draft, op_type: str) -> None:
    extents, kernel, strides, dilations = _spatial(draft)
    groups, channels, filters = _channels(draft)
    extra = [draft.integer(0, stride - 1) for stride in strides] if draft.chance(0.3) else [0] * len(kernel)
    sides = list(zip(extents, kernel, strides, dilations, extra, strict=True))
    natural = [(n - 1) * s + (k - 1) * d + 1 + e for n, k, s, d, e in sides]
    mode = draft.one_of("pads", "pads", None, "VALID", "output_shape", "SAME_UPPER", "SAME_LOWER")
    attributes, pads = {}, [0] * (2 * len(kernel))
    if mode == "pads":
        pads = [
            draft.integer(0, min(k - 1, (extent - 1) // 2))
            for _ in range(2)
            for k, extent in zip(kernel, natural, strict=True)
        ]
        attributes["pads"] = pads
    elif mode == "VALID":
        attributes["auto_pad"] = mode
    elif mode:
        if mode == "output_shape":
            wanted = [draft.integer(max(1, extent - 3), extent) for extent in natural]
            attributes["output_shape"] = wanted
        else:
            wanted = [n * s for n, s in zip(extents, strides, strict=True)]
            attributes["auto_pad"] = mode
        surplus = [extent - want for extent, want in zip(natural, wanted, strict=True)]
        if min(surplus) < 0:  # what onnxruntime then does, no standard says
            return
        begins = [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in surplus]
        pads = [*begins, *(total - begin for total, begin in zip(surplus, begins, strict=True))]
    data = draft.fresh((draft.integer(1, 2), channels, *extents))
    weights = draft.array((channels, filters // groups, *kernel))
    weight = draft.constant(weights) if draft.chance(0.8) else draft.input(weights)
    bias = [draft.fresh((filters,))] if draft.chance() else []
    arrays = [draft.values[name] for name in (data, weight, *bias)] + [None] * (1 - len(bias))
    draft.node(
        op_type, data, weight, *bias, strides=strides, dilations=dilations, group=groups, **attributes,
        output_padding=extra if any(extra) else None, kernel_shape=draft.one_of(None, kernel),
        expected=[formulas.transposed_convolution(*arrays, strides, dilations, pads, extra, groups)],
    )  # fmt: skip


def pooling(draft: Draft, op_type: str) -> None:
    extents, kernel, strides, dilations = _spatial(draft)
    if draft.opset < 19 and op_type != "MaxPool":
        dilations = [1] * len(kernel)
    attributes, pads = _padded(draft, extents, kernel, strides, dilations)
    if "pads" in attributes:  # no window may lie in the padding alone
        pads = attributes["pads"] = [min(pad, k // 2) for pad, k in zip(pads, kernel * 2, strict=True)]
    how = {"ceil": "auto_pad" not in attributes and draft.chance(0.4)}
    attributes["ceil_mode"] = int(how["ceil"]) if how["ceil"] else None
    if any(dilation > 1 for dilation in dilations):
        attributes["dilations"] = dilations
    if op_type == "AveragePool":
        how["includes"] = bool(draft.integer(0, 1))
        attributes["count_include_pad"] = int(how["includes"])
    if op_type == "LpPool":
        how["p"] = attributes["p"] = draft.integer(1, 3)
    shape = (draft.integer(1, 2), draft.integer(1, 5), *extents)
    outputs = draft.one_of(1, 1, 2) if op_type == "MaxPool" else 1
    dtype = (
        draft.one_of("float32", "float32", "uint8", "int8")
        if op_type == "MaxPool" and outputs == 1
        else "float32"
    )
    data = draft.fresh(shape, dtype, 0 if dtype == "uint8" else -3)
    expected = formulas.pooling(op_type, draft.values[data], kernel, strides, dilations, pads, **how)
    draft.node(
        op_type,
        data,
        outputs=outputs,
        kernel_shape=kernel,
        strides=strides,
        **attributes,
        expected=expected[:outputs],
    )


def global_pooling(draft: Draft, op_type: str) -> None:
    data = draft.value(3)
    array = draft.values[data].astype("float64")
    over = tuple(range(2, array.ndim))
    if op_type == "GlobalLpPool":
        p = draft.integer(1, 3)
        result = (np.abs(array) ** p).sum(over, keepdims=True) ** (1 / p)
        draft.node(op_type, data, p=p, expected=[result.astype("float32")])
        return
    result = (array.max if op_type == "GlobalMaxPool" else array.mean)(over, keepdims=True)
    draft.node(op_type, data, expected=[result.astype("float32")])


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


def recurrent(draft: Draft, op_type: str) -> None:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op_type]
    steps, batch, size, hidden = (draft.integer(1, 6) for _ in range(4))
    direction = draft.one_of("forward", "reverse", "bidirectional", None)
    directions = {"reverse": [True], "bidirectional": [False, True]}.get(direction, [False])
    count = len(directions)

    def drawn(shape: tuple[int, ...], share: float) -> tuple[str, np.ndarray]:
        array = draft.array(shape, low=-1, high=1)
        return (draft.fresh_of(array), array) if draft.chance(share) else ("", np.zeros(shape, np.float32))

    data = draft.array((steps, batch, size), low=-1, high=1)
    w, r = (drawn((count, gates * hidden, width), 1) for width in (size, hidden))
    b = drawn((count, 2 * gates * hidden), 0.7)
    lengths = (
        draft.array((batch,), "int32", 1, steps) if draft.chance(0.3) else np.full(batch, steps, np.int32)
    )
    named_lengths = draft.fresh_of(lengths) if (lengths != steps).any() else ""
    h, c = (drawn((count, batch, hidden), 0.5) for _ in range(2))
    p = drawn((count, 3 * hidden), 0.3)
    if op_type != "LSTM":
        c, p = (("", np.zeros_like(part[1])) for part in (c, p))
    clip = draft.one_of(None, None, 0.4)
    attributes = {
        "GRU": {"linear_before_reset": draft.integer(0, 1)},
        "LSTM": {"input_forget": draft.integer(0, 1)},
    }.get(op_type, {})
    expected = formulas.recurrent(
        op_type, data, w[1], r[1], b[1], lengths, h[1], c[1], p[1], directions, clip,
        attributes.get("input_forget", 0), attributes.get("linear_before_reset", 0),
    )  # fmt: skip
    names = [w[0], r[0], b[0], named_lengths, h[0], c[0], p[0]]
    if draft.chance(0.3):
        attributes["layout"] = 1
        data = data.transpose(1, 0, 2)
        expected = [expected[0].transpose(2, 0, 1, 3), *(part.transpose(1, 0, 2) for part in expected[1:])]
        for at, state in ((4, h), (5, c)):
            if state[0]:
                names[at] = draft.fresh_of(np.ascontiguousarray(state[1].transpose(1, 0, 2)))
    while not names[-1]:
        names.pop()
    draft.node(
        op_type, draft.input(np.ascontiguousarray(data)), *names, outputs=len(expected), hidden_size=hidden,
        direction=direction, clip=clip, expected=expected, **attributes,
    )  # fmt: skip


def quantize_linear(draft: Draft, op_type: str) -> None:
    shape = draft.shape(1)
    axis = draft.axis(len(shape))
    dtype = draft.one_of("int8", "uint8")
    per_axis = draft.chance()
    parameters = (shape[axis],) if per_axis else ()
    scale = draft.constant(2.0 ** draft.rng.integers(-4, 0, parameters).astype("float32"))
    zero = draft.constant(draft.array(parameters, dtype, 0 if dtype == "uint8" else -9, 9))
    if op_type == "QuantizeLinear":
        # Sixteenths: halves among the quotients, and none that float32 rounds.
        data = draft.input((draft.rng.integers(-900, 900, shape) / 16).astype("float32"))
    else:
        data = draft.fresh(shape, dtype, -128, 127)
    along = [-1 if at == axis % len(shape) else 1 for at in range(len(shape))] if per_axis else []
    operands = draft.values[data], *(draft.values[name].reshape(along) for name in (scale, zero))
    result = (
        arithmetic.quantize(*operands, dtype)
        if op_type == "QuantizeLinear"
        else arithmetic.dequantize(*operands)
    )
    draft.node(op_type, data, scale, zero, axis=axis if per_axis else None, expected=[result])


def dynamic_quantize(draft: Draft, op_type: str) -> None:
    draft.node(op_type, draft.input(draft.array(draft.shape(1))), outputs=3)


def matmul_integer(draft: Draft, op_type: str) -> None:
    m, k, n = (draft.one_of(1, 3, 8, 17, 33) for _ in range(3))
    a = draft.input(draft.array((*draft.shape(0, 2), m, k), "uint8", 0, 255))
    b = draft.constant(draft.array((k, n), "int8", -128, 127))
    zeros = [draft.constant(draft.array((), "uint8", 0, 255)), draft.constant(draft.array((), "int8", -9, 9))]
    draft.node(op_type, a, b, *zeros[: draft.integer(0, 2)])


def constant_of_shape(draft: Draft, op_type: str) -> None:
    shape, dtype = draft.shape(1, 3), draft.one_of("float32", "int64")
    value = numpy_helper.from_array(draft.array((1,), dtype))
    filled = draft.node(op_type, draft.constant(np.array(shape, np.int64)), value=value)
    draft.node("Add", filled, draft.fresh(shape, dtype))


def resize(draft: Draft, op_type: str) -> None:
    data = draft.fresh((1, draft.integer(1, 3), draft.integer(2, 6), draft.integer(2, 6)))
    mode = draft.one_of("nearest", "linear", "cubic")
    coordinates = draft.one_of("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    extra = (
        {"nearest_mode": draft.one_of("round_prefer_floor", "floor", "ceil", "round_prefer_ceil")}
        if mode == "nearest"
        else {}
    )
    if draft.chance():
        scales = np.array([1, 1, *(draft.one_of(0.5, 1.5, 2, 3) for _ in range(2))], np.float32)
        draft.node(
            op_type,
            data,
            "",
            draft.constant(scales),
            mode=mode,
            coordinate_transformation_mode=coordinates,
            **extra,
        )
    else:
        sizes = [*draft.shape_of(data)[:2], draft.integer(2, 9), draft.integer(2, 9)]
        draft.node(
            op_type,
            data,
            "",
            "",
            draft.constant(sizes),
            mode=mode,
            coordinate_transformation_mode=coordinates,
            **extra,
        )


def attention(draft: Draft, op_type: str) -> None:
    batch, heads, size = draft.integer(1, 2), draft.integer(1, 3), draft.integer(2, 5)
    q, k = draft.integer(1, 5), draft.integer(1, 5)
    operands = [draft.fresh((batch, heads, length, size)) for length in (q, k, k)]
    mask = [draft.fresh((q, k))] if draft.chance(0.4) else []
    draft.node(
        op_type, *operands, *mask, is_causal=0 if mask else draft.integer(0, 1), scale=draft.one_of(None, 0.3)
    )


def grid_sample(draft: Draft, op_type: str) -> None:
    data = draft.fresh((1, 2, draft.integer(2, 5), draft.integer(2, 5)))
    # Away from the edges of pixels, where the least error picks another one.
    grid = draft.input(
        (np.floor(draft.array((1, 3, 4, 2), low=-6, high=6)) / 5.37 + 0.0131).astype("float32")
    )
    draft.node(
        op_type, data, grid, mode=draft.one_of("linear", "nearest"), align_corners=draft.integer(0, 1),
        padding_mode=draft.one_of("zeros", "border", "reflection"),
    )  # fmt: skip


def shape_arithmetic(draft: Draft, op_type: str) -> None:
    """Reshape to a shape that nodes compute from another value's."""
    data = draft.value(2, 4)
    shape = draft.node("Shape", data)
    first = draft.node("Gather", shape, draft.constant([0]))
    draft.node("Reshape", data, draft.node("Concat", first, draft.constant([-1]), axis=0))
    draft.node("Size", data)


_alpha = {"alpha": _between(0.1, 2)}

OPERATORS: dict[str, tuple[int, Callable[[Draft, str], None]]] = {
    "Abs": (13, unary),
    "Acos": (13, partial(unary, low=-0.95, high=0.95)),
    "Acosh": (13, partial(unary, low=1.1, high=5)),
    "Add": (13, binary),
    "And": (13, logical),
    "ArgMax": (13, arg_reduction),
    "ArgMin": (13, arg_reduction),
    "Asin": (13, partial(unary, low=-0.95, high=0.95)),
    "Asinh": (13, unary),
    "Atan": (13, unary),
    "Atanh": (13, partial(unary, low=-0.9, high=0.9)),
    "Attention": (23, attention),
    "AveragePool": (13, pooling),
    "BatchNormalization": (13, batch_norm),
    "BitShift": (13, bit_shift),
    "BitwiseAnd": (18, bitwise),
    "BitwiseNot": (18, bitwise_not),
    "BitwiseOr": (18, bitwise),
    "BitwiseXor": (18, bitwise),
    "Cast": (13, cast),
    "CastLike": (17, cast),
    "Ceil": (13, jump),
    "Celu": (13, partial(unary, **_alpha)),
    "Clip": (13, clip),
    "Compress": (13, compress),
    "Concat": (13, concat),
    "ConstantOfShape": (13, constant_of_shape),
    "Conv": (13, convolution),
    "ConvTranspose": (13, transposed_convolution),
    "Cos": (13, unary),
    "Cosh": (13, unary),
    "CumSum": (14, running),
    "DFT": (17, dft),
    "DepthToSpace": (13, depth_to_space),
    "DequantizeLinear": (13, quantize_linear),
    "Div": (13, divide),
    "DynamicQuantizeLinear": (13, dynamic_quantize),
    "Einsum": (13, einsum),
    "Elu": (13, partial(unary, **_alpha)),
    "Equal": (13, compare),
    "Erf": (13, unary),
    "Exp": (13, unary),
    "Expand": (13, expand),
    "EyeLike": (13, eye_like),
    "Flatten": (13, flatten),
    "Floor": (13, jump),
    "GRU": (14, recurrent),
    "Gather": (13, gather),
    "GatherElements": (13, gather_elements),
    "GatherND": (13, gather_nd),
    "Gelu": (20, partial(unary, approximate=lambda draft: draft.one_of("none", "tanh"))),
    "Gemm": (13, gemm),
    "GlobalAveragePool": (13, global_pooling),
    "GlobalLpPool": (13, global_pooling),
    "GlobalMaxPool": (13, global_pooling),
    "Greater": (13, compare),
    "GreaterOrEqual": (16, compare),
    "GridSample": (20, grid_sample),
    "GroupNormalization": (21, group_norm),
    "HardSigmoid": (13, partial(unary, alpha=_between(0.1, 0.5), beta=_between(0.2, 0.7))),
    "HardSwish": (14, unary),
    "Hardmax": (13, hardmax),
    "Identity": (13, unary),
    "InstanceNormalization": (13, instance_norm),
    "IsInf": (13, is_special),
    "IsNaN": (13, is_special),
    "LRN": (13, lrn),
    "LSTM": (14, recurrent),
    "LayerNormalization": (17, layer_norm),
    "LeakyRelu": (16, partial(unary, **_alpha)),
    "Less": (13, compare),
    "LessOrEqual": (16, compare),
    "Log": (13, partial(unary, low=0.1, high=5)),
    "LogSoftmax": (13, softmax),
    "LpNormalization": (13, lp_norm),
    "LpPool": (18, pooling),
    "MatMul": (13, matmul),
    "MatMulInteger": (13, matmul_integer),
    "Max": (13, several),
    "MaxPool": (13, pooling),
    "Mean": (13, several),
    "MeanVarianceNormalization": (13, mean_variance_norm),
    "Min": (13, several),
    "Mish": (18, unary),
    "Mod": (13, modulo),
    "Mul": (13, binary),
    "Neg": (13, signed_unary),
    "Not": (13, logical_not),
    "OneHot": (13, one_hot),
    "Or": (13, logical),
    "PRelu": (16, p_relu),
    "Pad": (18, pad),
    "Pow": (13, power),
    "QuantizeLinear": (13, quantize_linear),
    "RMSNormalization": (23, layer_norm),
    "RNN": (14, recurrent),
    "Reciprocal": (13, partial(unary, low=0.3, high=5)),
    "ReduceL1": (13, reduction),
    "ReduceL2": (13, reduction),
    "ReduceLogSum": (13, partial(reduction, low=0.1)),
    "ReduceLogSumExp": (13, reduction),
    "ReduceMax": (13, reduction),
    "ReduceMean": (13, reduction),
    "ReduceMin": (13, reduction),
    "ReduceProd": (13, reduction),
    "ReduceSum": (13, reduction),
    "ReduceSumSquare": (13, reduction),
    "Relu": (14, unary),
    "Reshape": (13, reshape),
    "Resize": (18, resize),
    "ReverseSequence": (13, reverse_sequence),
    "Round": (13, jump),
    "ScatterElements": (13, scatter_elements),
    "ScatterND": (13, scatter_nd),
    "Selu": (13, partial(unary, **_alpha, gamma=_between(0.5, 2))),
    "Shape": (13, shape_arithmetic),
    "Shrink": (13, partial(unary, lambd=_between(0.2, 1), bias=_between(0, 1))),
    "Sigmoid": (13, unary),
    "Sign": (13, jump),
    "Sin": (13, unary),
    "Sinh": (13, unary),
    "Slice": (13, slice_),
    "Softmax": (13, softmax),
    "Softplus": (13, unary),
    "Softsign": (13, unary),
    "SpaceToDepth": (13, depth_to_space),
    "Split": (13, split),
    "Sqrt": (13, partial(unary, low=0.1, high=9)),
    "Squeeze": (13, squeeze),
    "Sub": (13, binary),
    "Sum": (13, several),
    "Tan": (13, partial(unary, low=-1.2, high=1.2)),
    "Tanh": (13, unary),
    "ThresholdedRelu": (13, partial(unary, alpha=_between(0.1, 2))),
    "Tile": (13, tile),
    "TopK": (13, top_k),
    "Transpose": (13, transpose),
    "Trilu": (14, trilu),
    "Unsqueeze": (13, unsqueeze),
    "Where": (16, where),
    "Xor": (13, logical),
}
"""Operator to the oldest version of the standard that it is drawn for, and what draws it."""

NODES = 3
"""Nodes that a graph is begun with; some of them add more."""


def draw(seed: int) -> Graph:
    """Return the graph of a seed."""
    draft = Draft(seed)
    known = sorted(name for name, (opset, _) in OPERATORS.items() if opset <= draft.opset)
    for name in draft.rng.choice(known, NODES, replace=False):
        OPERATORS[name][1](draft, str(name))
    return draft.finish()
