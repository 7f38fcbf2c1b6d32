"""ONNX operators that move values by positions: reversed sequences, running sums, one-hot and the like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from .elementwise import number

Inputs = list[relax.Expr | None]
Attributes = dict[str, Any]


class _Running(stock.OnnxOpConverter):
    """A running sum or product, with ``reverse`` from the end, and with ``exclusive`` without the element itself."""

    operator: Callable[..., relax.Call]

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, axis = inputs[0], inputs[1]
        if not is_constant(axis):
            raise ValueError("its axis is computed at run time; only constants are supported")
        axis = int(to_numpy(axis).item()) % len(shape_of(data))
        flip = attr.get("reverse", 0)
        data = bb.emit(relax.op.flip(data, axis)) if flip else data
        total = bb.emit(
            cls.operator(data, axis, dtype=dtype_of(data), exclusive=bool(attr.get("exclusive", 0)))
        )
        return relax.op.flip(total, axis) if flip else total


class CumSum(_Running):
    operator = relax.op.cumsum


class CumProd(_Running):
    operator = relax.op.cumprod


class TopK(stock.OnnxOpConverter):
    """The k largest or smallest and their positions, in order also where no order is asked for."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        return cls._topk(inputs[0], attr["k"], attr)

    @classmethod
    def _impl_v10(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        if not is_constant(inputs[1]):
            raise ValueError("k is computed at run time; only constants are supported")
        return cls._topk(inputs[0], int(to_numpy(inputs[1]).item()), attr)

    @staticmethod
    def _topk(data: relax.Expr, count: int, attr: Attributes) -> relax.Expr:
        axis = attr.get("axis", -1)
        extent = shape_of(data)[axis]
        if not 0 <= count <= extent:
            raise ValueError(f"k is {count}, and the axis has {extent} elements")
        return relax.op.topk(data, count, axis, "both", largest=bool(attr.get("largest", 1)), dtype="int64")


class ReverseSequence(stock.OnnxOpConverter):
    """Each sample's first steps, as many as its length, in reverse order."""

    @classmethod
    def _impl_v10(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, lengths = inputs[0], inputs[1]
        shape = shape_of(data)
        time, batch = attr.get("time_axis", 0), attr.get("batch_axis", 1)

        def along(values: relax.Expr, axis: int) -> relax.Expr:
            return bb.emit(relax.op.reshape(values, [-1 if at == axis else 1 for at in range(len(shape))]))

        steps = along(constant(np.arange(shape[time])), time)
        lengths = along(lengths, batch)
        mirrored = bb.emit(
            relax.op.subtract(bb.emit(relax.op.subtract(lengths, steps)), constant(np.array(1)))
        )
        chosen = bb.emit(relax.op.where(bb.emit(relax.op.less(steps, lengths)), mirrored, steps))
        return relax.op.gather_elements(data, bb.emit(relax.op.broadcast_to(chosen, shape)), time)


class EyeLike(stock.OnnxOpConverter):
    """A constant: ones on a diagonal, in the input's shape and the dtype that is asked for."""

    @classmethod
    def _impl_v9(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        rows, columns = shape_of(inputs[0])
        dtype = helper.tensor_dtype_to_np_dtype(attr["dtype"]) if "dtype" in attr else dtype_of(inputs[0])
        return constant(np.eye(rows, columns, attr.get("k", 0)).astype(dtype))


class OneHot(stock.OnnxOpConverter):
    """``values[1]`` where the position along the new axis is the index, ``values[0]`` elsewhere."""

    @classmethod
    def _impl_v9(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        indices, depth, values = inputs[0], inputs[1], inputs[2]
        if not is_constant(depth):
            raise ValueError("its depth is computed at run time; only constants are supported")
        depth = int(to_numpy(depth).item())
        rank = len(shape_of(indices)) + 1
        axis = attr.get("axis", -1) % rank
        dtype = dtype_of(indices)
        # Negative indices count from the end; those beyond either end set nothing.
        behind = bb.emit(relax.op.add(indices, number(depth, indices)))
        indices = bb.emit(
            relax.op.where(bb.emit(relax.op.less(indices, number(0, indices))), behind, indices)
        )
        positions = np.arange(depth).astype(dtype).reshape([-1 if at == axis else 1 for at in range(rank)])
        hits = bb.emit(relax.op.equal(bb.emit(relax.op.expand_dims(indices, axis)), constant(positions)))
        off, on = (bb.emit(relax.op.take(values, constant(np.array(at)), 0)) for at in range(2))
        return relax.op.where(hits, on, off)


class Compress(stock.OnnxOpConverter):
    """The slices whose condition is true, where that is constant."""

    @classmethod
    def _impl_v9(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, condition = inputs[0], inputs[1]
        if not is_constant(condition):
            raise ValueError("the shape of its result depends on its data, and shapes must be static")
        chosen = constant(np.flatnonzero(to_numpy(condition)))
        if "axis" not in attr:
            return relax.op.take(bb.emit(relax.op.reshape(data, [-1])), chosen, 0)
        return relax.op.take(data, chosen, attr["axis"] % len(shape_of(data)))


class SpaceToDepth(stock.OnnxOpConverter):
    """Blocks of pixels to channels, their position before the channel (DCR) or behind it (CRD)."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        batch, channels, height, width = shape_of(inputs[0])
        size = attr["blocksize"]
        blocks = (batch, channels, height // size, size, width // size, size)
        order = [0, 1, 3, 5, 2, 4] if attr.get("mode", b"DCR") == b"CRD" else [0, 3, 5, 1, 2, 4]
        moved = bb.emit(relax.op.permute_dims(bb.emit(relax.op.reshape(inputs[0], blocks)), order))
        return relax.op.reshape(moved, (batch, channels * size * size, height // size, width // size))


class TensorScatter(stock.OnnxOpConverter):
    """A cache with an update written into each sample from its index on, around its end where the mode is circular."""

    @classmethod
    def _impl_v24(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        cache, update, first = inputs[0], inputs[1], inputs[2]
        shape = shape_of(cache)
        axis = attr.get("axis", -2) % len(shape)
        count = shape_of(update)[axis]

        def along(values: relax.Expr, at: int) -> relax.Expr:
            return bb.emit(relax.op.reshape(values, [-1 if at == one else 1 for one in range(len(shape))]))

        if first is None:
            first = constant(np.zeros(shape[0], np.int64))
        steps = along(constant(np.arange(count)), axis)
        target = bb.emit(relax.op.add(along(first, 0), steps))
        if attr.get("mode", b"linear") == b"circular":
            target = bb.emit(relax.op.floor_mod(target, constant(np.array(shape[axis]))))
        target = bb.emit(relax.op.broadcast_to(target, shape_of(update)))
        return relax.op.scatter_elements(cache, target, update, axis)
