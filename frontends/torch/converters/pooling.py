"""Pooling, by the converters of ONNX's; data without an axis of batches gets one meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import relax

from ....passes.hub.graph import shape_of
from ..scope import Scope


def max_pool(rank: int, indices: bool = False) -> Callable:
    """Return the converter of maxima in windows, and where asked for of their positions within a channel."""

    def convert(
        s: Scope, x: relax.Expr, kernel: Sequence[int], stride: Sequence[int] = (),
        padding: Sequence[int] = (0,), dilation: Sequence[int] = (1,), ceil_mode: bool = False,
    ):  # fmt: skip
        attributes = _attributes(rank, kernel, stride, padding, ceil_mode)
        attributes["dilations"] = _spread(dilation, rank)
        if not indices:
            return _pooled(s, "MaxPool", x, rank, attributes)
        if len(shape_of(x)) == rank + 1:
            raise ValueError("positions of maxima are supported in batches alone")
        maxima, places = s.onnx_outputs("MaxPool", 2, x, **attributes)
        size = s.number(math.prod(shape_of(x)[2:]), "int64")  # ONNX's are those in the whole tensor
        return maxima, relax.op.floor_mod(places, size)

    return convert


def avg_pool(rank: int) -> Callable:
    """Return the converter of averages of windows."""

    def convert(
        s: Scope, x: relax.Expr, kernel: Sequence[int], stride: Sequence[int] = (),
        padding: Sequence[int] = (0,), ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> relax.Expr:  # fmt: skip
        if divisor_override is not None:
            raise ValueError("divisor_override is not supported")
        attributes = _attributes(rank, kernel, stride, padding, ceil_mode)
        attributes["count_include_pad"] = int(count_include_pad)
        return _pooled(s, "AveragePool", x, rank, attributes)

    return convert


def adaptive_pool(rank: int, op_type: str) -> Callable:
    """Return the converter of a pooling to an output's size, which windows of one size must give."""

    def convert(s: Scope, x: relax.Expr, sizes: Sequence[int]):
        extents = shape_of(x)[-rank:]
        sizes = _spread(sizes, rank)
        wanted = [extent if size is None else size for extent, size in zip(extents, sizes, strict=True)]
        if op_type == "AveragePool" and all(size == 1 for size in wanted):
            return relax.op.mean(x, list(range(-rank, 0)), keepdims=True)
        if any(extent % size for extent, size in zip(extents, wanted, strict=True)):
            if op_type == "AveragePool" and rank == 2 and len(shape_of(x)) == 4:
                return relax.op.nn.adaptive_avg_pool2d(x, wanted)
            raise ValueError(f"{list(extents)} positions cannot be shared evenly by {wanted} windows")
        kernel = [extent // size for extent, size in zip(extents, wanted, strict=True)]
        pooled = _pooled(s, op_type, x, rank, {"kernel_shape": kernel, "strides": kernel})
        return (pooled, None) if op_type == "MaxPool" else pooled

    return convert


def _pooled(s: Scope, op_type: str, x: relax.Expr, rank: int, attributes: dict) -> relax.Expr:
    alone = len(shape_of(x)) == rank + 1
    if alone:
        x = s.reshape(x, (1, *shape_of(x)))
    result = s.onnx(op_type, x, **attributes)
    return s.reshape(s.emit(result), shape_of(result)[1:]) if alone else result


def _attributes(
    rank: int, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool
) -> dict:
    kernel = _spread(kernel, rank)
    return {
        "kernel_shape": kernel,
        "strides": _spread(stride, rank) if stride else kernel,
        "pads": _spread(padding, rank) * 2,
        "ceil_mode": int(ceil_mode),
    }


def _spread(value: int | Sequence[int], rank: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values
