"""Operators that move, select, repeat or make elements, and compute none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper
from tflite import MirrorPadMode

from ...onnx.contrib.body import Write
from ...onnx.tensors import storage_of
from ..body import OperatorBody
from ..file import DTYPES
from . import tables


def reshape(body: OperatorBody, data: str, shape: str = "", *, new_shape: Sequence[int] = (), **_) -> str:
    target = body("Cast", shape, to=TensorProto.INT64) if shape else body.constant(list(new_shape))
    return body.result(body("Reshape", body.real(data), target))


def squeeze(body: OperatorBody, data: str, *, squeeze_dims: Sequence[int] = (), **_) -> str:
    shape = body.shapes[data]
    axes = [axis % len(shape) for axis in squeeze_dims] or [
        axis for axis, extent in enumerate(shape) if extent == 1
    ]
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"its axes {axes} of the shape {list(shape)} are not all of extent 1")
    kept = [extent for axis, extent in enumerate(shape) if axis not in axes]
    return body.result(body.reshape(body.real(data), *kept))


def expand_dims(body: OperatorBody, data: str, axis: str, **_) -> str:
    shape = list(body.shapes[data])
    (place,) = body.numbers(axis, "axis")
    shape.insert(place + len(shape) + 1 if place < 0 else place, 1)
    return body.result(body.reshape(body.real(data), *shape))


def transpose(body: OperatorBody, data: str, perm: str, **_) -> str:
    rank = len(body.shapes[data])
    axes = [axis % max(rank, 1) for axis in body.numbers(perm, "order of axes")]
    return body.result(body("Transpose", body.real(data), perm=axes))


def sliced(body: OperatorBody, data: str, begin: str, size: str, **_) -> str:
    starts, sizes = body.numbers(begin, "begin"), body.numbers(size, "size")
    ends = [
        start + count if count >= 0 else extent
        for start, count, extent in zip(starts, sizes, body.shapes[data], strict=True)
    ]
    return body.result(_cut(body, body.real(data), starts, ends, range(len(starts))))


def _cut(
    body: OperatorBody, value: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int],
    steps: Sequence[int] | None = None,
) -> str:  # fmt: skip
    given = (starts, ends, axes, [1] * len(starts) if steps is None else steps)
    return body("Slice", value, *(body.constant(list(each)) for each in given))


def strided_slice(
    body: OperatorBody, data: str, begin: str, end: str, strides: str, *, begin_mask: int = 0, end_mask: int = 0,
    ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0, offset: int = 0, **_,
) -> str:  # fmt: skip
    shape = body.shapes[data]
    bounds = (body.numbers(*each) for each in ((begin, "begin"), (end, "end"), (strides, "strides")))
    entries = list(zip(*bounds, strict=True))
    masks = begin_mask, end_mask, shrink_axis_mask
    places = _places(len(entries), len(shape), ellipsis_mask, new_axis_mask)
    if sum(place != NEW for place in places) > len(shape):
        raise ValueError(f"it has more entries than its data of the shape {list(shape)} has axes")
    slices, result = [], []
    extents = iter(shape)
    for place in places:
        if place == NEW:
            result.append(1)
            continue
        extent = next(extents)
        if place == WHOLE:
            slices.append((0, extent, 1))
            result.append(extent)
            continue
        first, last, step = entries[place]
        from_start, to_end, shrinks = (bool(mask >> place & 1) for mask in masks)
        if shrinks:
            first = first + extent if first < 0 else first
            slices.append((first, first + 1, 1))
            continue
        last = last + first if offset else last
        first = (0 if step > 0 else extent - 1) if from_start else first
        last = (extent if step > 0 else -extent - 1) if to_end else last
        slices.append((first, last, step))
        result.append(len(range(*slice(first, last, step).indices(extent))))
    value = body.real(data)
    if slices:
        starts, ends, steps = zip(*slices, strict=True)
        value = _cut(body, value, starts, ends, range(len(slices)), steps)
    return body.result(body.reshape(value, *result))


NEW, WHOLE = -1, -2
"""In place of an entry: an axis of extent 1 that the data do not have, and one that stays as it is."""


def _places(count: int, rank: int, ellipsis_mask: int, new_axis_mask: int) -> list[int]:
    """Return of each axis of a slice which of ``count`` entries it has, or ``NEW`` or ``WHOLE``."""
    found: list[int] = []
    new = (new_axis_mask & ~ellipsis_mask & ((1 << count) - 1)).bit_count()
    for place in range(count):
        if ellipsis_mask >> place & 1:
            found += [WHOLE] * (rank - (count - 1 - new))
        else:
            found.append(NEW if new_axis_mask >> place & 1 else place)
    return found + [WHOLE] * (rank - sum(place != NEW for place in found))


def split(body: OperatorBody, axis: str, data: str, *, num_splits: int = 1, **_) -> list[str]:
    (place,) = body.numbers(axis, "axis")
    extent = body.shapes[data][place]
    return _parts(body, data, [extent // num_splits] * num_splits, place)


def split_v(body: OperatorBody, data: str, sizes: str, axis: str, **_) -> list[str]:
    (place,) = body.numbers(axis, "axis")
    given = body.numbers(sizes, "sizes")
    rest = body.shapes[data][place] - sum(size for size in given if size >= 0)
    return _parts(body, data, [rest if size < 0 else size for size in given], place)


def _parts(body: OperatorBody, data: str, sizes: Sequence[int], axis: int) -> list[str]:
    axis %= len(body.shapes[data])
    parts = body.split(body.real(data), sizes, axis)
    return [body.result(part, place) for place, part in enumerate(parts)]


def concatenation(
    body: OperatorBody, *data: str, axis: int = 0, fused_activation_function: int = 0, **_
) -> str:
    if body.is_exact(*data) and not fused_activation_function:
        return tables.concatenation(body, data, axis)
    value = body("Concat", *(body.real(name) for name in data), axis=axis)
    return body.result(body.activated(value, fused_activation_function))


def pack(body: OperatorBody, *data: str, axis: int = 0, **_) -> str:
    rank = len(body.shapes[data[0]]) + 1
    places = body.constant([axis % rank])
    return body.result(
        body("Concat", *(body("Unsqueeze", body.real(name), places) for name in data), axis=axis % rank)
    )


def unpack(body: OperatorBody, data: str, *, num: int = 1, axis: int = 0, **_) -> list[str]:
    axis %= len(body.shapes[data])
    parts = body.split(body.real(data), [1] * num, axis)
    return [
        body.result(body("Squeeze", part, body.constant([axis])), place) for place, part in enumerate(parts)
    ]


def pad(body: OperatorBody, data: str, paddings: str, value: str = "", **_) -> str:
    before, after = body.ends(paddings, "paddings")
    inside = [body.real(value)] if value else []

    def padded(data: str, axes: Sequence[int]) -> str:
        widths = [each[axis] for each in (before, after) for axis in axes]
        return body("Pad", data, body.constant(widths), *inside)

    if len(before) != 4:
        return body.result(padded(body.real(data), range(len(before))))
    return body.result_of_image(data, lambda image: padded(image, (0, 3, 1, 2)))


def mirror_pad(body: OperatorBody, data: str, paddings: str, *, mode: int = 0, **_) -> str:
    before, after = body.ends(paddings, "paddings")
    value = body.real(data)
    if mode == MirrorPadMode.REFLECT:
        widths = body.constant([*before, *after])
        return body.result(body("Pad", value, widths, mode="reflect"))
    for axis, extent in enumerate(body.shapes[data]):  # symmetric: the edge comes twice
        if before[axis] or after[axis]:
            places = np.pad(np.arange(extent), (before[axis], after[axis]), "symmetric")
            value = body("Gather", value, body.constant(places), axis=axis)
    return body.result(value)


def tile(body: OperatorBody, data: str, multiples: str, **_) -> str:
    return body.result(body("Tile", body.real(data), body("Cast", multiples, to=TensorProto.INT64)))


def broadcast_to(body: OperatorBody, data: str, shape: str, **_) -> str:
    return body.result(body("Expand", body.real(data), body("Cast", shape, to=TensorProto.INT64)))


def gather(body: OperatorBody, data: str, indices: str, *, axis: int = 0, batch_dims: int = 0, **_) -> str:
    if batch_dims:
        raise ValueError(f"batch_dims {batch_dims} is not supported")
    return body.result(body("Gather", body.real(data), indices, axis=axis))


def gather_nd(body: OperatorBody, data: str, indices: str, **_) -> str:
    return body.result(body("GatherND", body.real(data), body("Cast", indices, to=TensorProto.INT64)))


def embedding_lookup(body: OperatorBody, indices: str, data: str, **_) -> str:
    return gather(body, data, indices)


def space_to_depth(body: OperatorBody, data: str, *, block_size: int = 1, **_) -> str:
    n, h, w, c = body.shapes[data]
    size = block_size
    value = body.reshape(body.real(data), n, h // size, size, w // size, size, c)
    value = body("Transpose", value, perm=[0, 1, 3, 2, 4, 5])
    return body.result(body.reshape(value, n, h // size, w // size, size * size * c))


def depth_to_space(body: OperatorBody, data: str, *, block_size: int = 1, **_) -> str:
    n, h, w, c = body.shapes[data]
    size = block_size
    value = body.reshape(body.real(data), n, h, w, size, size, c // (size * size))
    value = body("Transpose", value, perm=[0, 1, 3, 2, 4, 5])
    return body.result(body.reshape(value, n, h * size, w * size, c // (size * size)))


def space_to_batch(body: OperatorBody, data: str, block: str, paddings: str, **_) -> str:
    sizes = body.numbers(block, "block shape")
    before, after = body.ends(paddings, "paddings")
    n, *extents = body.shapes[data]
    axes = len(sizes)
    rest = extents[axes:]
    widths = [0, *before, *[0] * len(rest), 0, *after, *[0] * len(rest)]
    value = body("Pad", body.real(data), body.constant(widths))
    padded = [extent + b + a for extent, b, a in zip(extents, before, after, strict=False)]
    parts = [part for extent, size in zip(padded, sizes, strict=True) for part in (extent // size, size)]
    value = body.reshape(value, n, *parts, *rest)
    order = [
        *range(2, 2 * axes + 1, 2),
        0,
        *range(1, 2 * axes, 2),
        *range(2 * axes + 1, 2 * axes + 1 + len(rest)),
    ]
    value = body("Transpose", value, perm=order)
    smaller = [extent // size for extent, size in zip(padded, sizes, strict=True)]
    return body.result(body.reshape(value, n * int(np.prod(sizes)), *smaller, *rest))


def batch_to_space(body: OperatorBody, data: str, block: str, crops: str, **_) -> str:
    sizes = body.numbers(block, "block shape")
    before, after = body.ends(crops, "crops")
    n, *extents = body.shapes[data]
    axes = len(sizes)
    rest = extents[axes:]
    outer = n // int(np.prod(sizes))
    value = body.reshape(body.real(data), *sizes, outer, *extents)
    order = [axes, *(place for axis in range(axes) for place in (axes + 1 + axis, axis))]
    order += range(2 * axes + 1, 2 * axes + 1 + len(rest))
    value = body("Transpose", value, perm=order)
    larger = [extent * size for extent, size in zip(extents, sizes, strict=False)]
    value = body.reshape(value, outer, *larger, *rest)
    ends = [extent - behind for extent, behind in zip(larger, after, strict=True)]
    return body.result(_cut(body, value, before, ends, range(1, axes + 1)))


def reverse(body: OperatorBody, data: str, axes: str, **_) -> str:
    places = body.numbers(axes, "axes")
    ends = [-extent - 1 for extent in (body.shapes[data][axis] for axis in places)]
    return body.result(_cut(body, body.real(data), [-1] * len(places), ends, places, [-1] * len(places)))


def shape_of(body: OperatorBody, data: str, *, out_type: int = 2, **_) -> str:
    value = body("Shape", data)
    return value if DTYPES[out_type] == "int64" else body("Cast", value, to=TensorProto.INT32)


def rank_of(body: OperatorBody, data: str, **_) -> str:
    return body.constant(len(body.shapes[data]), "int32")


def fill(body: OperatorBody, shape: str, value: str, **_) -> str:
    return body.result(body("Expand", body.real(value), body("Cast", shape, to=TensorProto.INT64)))


def zeros_like(body: OperatorBody, data: str, **_) -> str:
    return body.constant(np.zeros(body.shapes[data]), body.inputs[data].dtype)


def ranged(body: OperatorBody, start: str, limit: str, delta: str, **_) -> str:
    return body("Range", start, limit, delta)


def cast(body: OperatorBody, data: str, **_) -> str:
    dtype = storage_of(body.results[0].dtype)
    return body("Cast", data, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def one_hot(body: OperatorBody, indices: str, depth: str, on: str, off: str, *, axis: int = -1, **_) -> str:
    values = body("Concat", body.reshape(body.real(off), 1), body.reshape(body.real(on), 1), axis=0)
    return body.result(body("OneHot", indices, depth, values, axis=axis))


def top_k(body: OperatorBody, data: str, k: str, **_) -> tuple[str, str]:
    count = body.reshape(body("Cast", k, to=TensorProto.INT64), 1)
    values, places = body.several("TopK", 2, body.real(data), count, axis=-1)
    return body.result(values), body("Cast", places, to=TensorProto.INT32)


MOVES: dict[str, Write] = {
    "BATCH_TO_SPACE_ND": batch_to_space,
    "BROADCAST_TO": broadcast_to,
    "CAST": cast,
    "CONCATENATION": concatenation,
    "DEPTH_TO_SPACE": depth_to_space,
    "EMBEDDING_LOOKUP": embedding_lookup,
    "EXPAND_DIMS": expand_dims,
    "FILL": fill,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
    "MIRROR_PAD": mirror_pad,
    "ONE_HOT": one_hot,
    "PACK": pack,
    "PAD": pad,
    "PADV2": pad,
    "RANGE": ranged,
    "RANK": rank_of,
    "RESHAPE": reshape,
    "REVERSE_V2": reverse,
    "SHAPE": shape_of,
    "SLICE": sliced,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "SQUEEZE": squeeze,
    "STRIDED_SLICE": strided_slice,
    "TILE": tile,
    "TOPK_V2": top_k,
    "TRANSPOSE": transpose,
    "UNPACK": unpack,
    "ZEROS_LIKE": zeros_like,
}
