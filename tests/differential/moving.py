"""Operators that move values: shapes, slices, gathers and scatters, each a function that adds a node."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from .draft import FLOATS, INTEGERS, Draft


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
    left, right = draft.broadcast_pair()
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
    most = {
        "reflect": lambda n: n - 1,
        "wrap": lambda n: 2 * n,
        "edge": lambda n: 3,
        "constant": lambda n: 3,
    }[mode]
    pads = [draft.integer(0, max(0, min(3, most(extent)))) for _ in range(2) for extent in shape]
    fill = (
        draft.constant(np.array(draft.integer(-2, 2), dtype)) if mode == "constant" and draft.chance() else ""
    )
    expected = None
    if mode == "constant" and shape[0] > 1 and draft.chance(0.2):  # ONNX's evaluator cannot crop
        before, after = [0, *pads[1 : len(shape)]], pads[len(shape) :]
        pads[0] = -1
        value = draft.values[fill] if fill else 0
        expected = [
            np.pad(draft.values[data][1:], list(zip(before, after, strict=True)), constant_values=value)
        ]
    draft.node(op_type, data, draft.constant(pads), *([fill] if fill else []), mode=mode, expected=expected)


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
        draft.array(draft.shape(1, 3), draft.one_of("int32", "int64", "float32"), -depth, depth - 1).round()
    )
    values = draft.constant(draft.array((2,), draft.one_of("float32", "int32", "int64")))
    axis = draft.integer(-draft.rank(indices) - 1, draft.rank(indices))
    draft.node(op_type, indices, draft.constant(np.array(depth)), values, axis=axis)


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


def constant_of_shape(draft: Draft, op_type: str) -> None:
    shape, dtype = draft.shape(1, 3), draft.one_of("float32", "int64")
    value = numpy_helper.from_array(draft.array((1,), dtype))
    filled = draft.node(op_type, draft.constant(np.array(shape, np.int64)), value=value)
    draft.node("Add", filled, draft.fresh(shape, dtype))


def shape_arithmetic(draft: Draft, op_type: str) -> None:
    """Reshape to a shape that nodes compute from another value's."""
    data = draft.value(2, 4)
    shape = draft.node("Shape", data)
    first = draft.node("Gather", shape, draft.constant([0]))
    draft.node("Reshape", data, draft.node("Concat", first, draft.constant([-1]), axis=0))
    draft.node("Size", data)
