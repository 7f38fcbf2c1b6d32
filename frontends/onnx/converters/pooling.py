"""ONNX's pooling: every way of padding, positions of the maxima, and what undoes it.

TVM's converters round the positions of ``SAME_LOWER`` down, count what lies beyond the padding into averages, and
give no positions of maxima.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, shape_of
from .windows import explicit_pads


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pooling lie, one entry a spatial axis.

    Attributes
    ----------
    extents, kernel, strides, dilations : of the input, of a window, between windows and within one.
    before, after : padding as the model asks for it.
    positions : how many windows there are.
    """

    extents: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    positions: tuple[int, ...]

    @classmethod
    def of(cls, data: relax.Expr, attr: dict[str, Any]) -> Windows:
        """Return the windows that the attributes ask for.

        With ``ceil_mode`` a last window may reach beyond the padding, but begins before the padding's end.

        Raises
        ------
        ValueError : a window larger than what it slides over.
        """
        kernel = tuple(attr["kernel_shape"])
        ones = (1,) * len(kernel)
        strides, dilations = tuple(attr.get("strides", ones)), tuple(attr.get("dilations", ones))
        pads = explicit_pads(data, kernel, attr)
        before, after = tuple(pads[: len(kernel)]), tuple(pads[len(kernel) :])
        extents = shape_of(data)[2:]
        positions = []
        for n, k, s, d, b, a in zip(extents, kernel, strides, dilations, before, after, strict=True):
            room = b + n + a - (k - 1) * d - 1
            if room < 0:
                raise ValueError(
                    f"a window of {(k - 1) * d + 1} is larger than the {b + n + a} that it slides over"
                )
            count = -(-room // s) + 1 if attr.get("ceil_mode", 0) else room // s + 1
            positions.append(count - 1 if (count - 1) * s >= b + n and count > 1 else count)
        return cls(extents, kernel, strides, dilations, before, after, tuple(positions))

    @property
    def beyond(self) -> tuple[int, ...]:
        """How far the last window reaches beyond the padding; 0 where it does not."""
        axes = zip(
            self.extents,
            self.kernel,
            self.strides,
            self.dilations,
            self.before,
            self.after,
            self.positions,
            strict=True,
        )
        return tuple(max(0, (p - 1) * s + (k - 1) * d + 1 - (b + n + a)) for n, k, s, d, b, a, p in axes)

    @property
    def pads(self) -> tuple[int, ...]:
        """Padding with which every window is whole: begin of each axis, then end of each."""
        return (*self.before, *(a + extra for a, extra in zip(self.after, self.beyond, strict=True)))

    def coordinates(self, axis: int) -> np.ndarray:
        """Return the input position of each window's taps along the axis, [positions, taps]."""
        start = np.arange(self.positions[axis]) * self.strides[axis] - self.before[axis]
        return start[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]

    def counts(self, includes_padding: bool) -> np.ndarray:
        """Return of how many elements each window's average is, float64 [positions of each axis]."""
        total = np.ones(())
        for axis, extent in enumerate(self.extents):
            at = self.coordinates(axis)
            low, high = (-self.before[axis], extent + self.after[axis]) if includes_padding else (0, extent)
            total = np.multiply.outer(total, ((at >= low) & (at < high)).sum(axis=1))
        return total


def _pool(kind: str, data: relax.Expr, windows: Windows, **options) -> relax.Call:
    operator = getattr(relax.op.nn, f"{kind}_pool{len(windows.kernel)}d")
    return operator(data, windows.kernel, windows.strides, windows.pads, windows.dilations, **options)


class MaxPool(stock.OnnxOpConverter):
    """The maxima, and where asked for their positions in the flattened input."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        data, windows = inputs[0], Windows.of(inputs[0], attr)
        pooled = _pool("max", data, windows)
        if attr["tvm_custom"]["num_outputs"] == 1:
            return pooled
        return relax.Tuple(
            [bb.emit(pooled), bb.emit(cls._positions(bb, data, windows, attr.get("storage_order", 0)))]
        )

    @classmethod
    def _positions(cls, bb, data: relax.Expr, windows: Windows, column_major: int) -> relax.Expr:
        taps = []
        padded = _padded_with_least(bb, data, windows)
        spatial = list(range(2, 2 + len(windows.kernel)))
        for offsets in itertools.product(*(range(count) for count in windows.kernel)):
            begin = [offset * d for offset, d in zip(offsets, windows.dilations, strict=True)]
            end = [
                b + (p - 1) * s + 1 for b, p, s in zip(begin, windows.positions, windows.strides, strict=True)
            ]
            tap = bb.emit(relax.op.strided_slice(padded, spatial, begin, end, windows.strides))
            taps.append(bb.emit(relax.op.expand_dims(tap, -1)))
        winner = bb.emit(relax.op.argmax(bb.emit(relax.op.concat(taps, -1)), -1))
        strides = _strides(windows.extents, column_major)
        starts, steps = np.zeros((), np.int64), np.zeros((), np.int64)
        for axis, stride in enumerate(strides):
            at = windows.coordinates(axis)
            starts = np.add.outer(starts, at[:, 0] * stride)
            steps = np.add.outer(steps, (at[0] - at[0, 0]) * stride)
        images = np.arange(math.prod(shape_of(data)[:2])) * math.prod(windows.extents)
        base = images.reshape((*shape_of(data)[:2], *(1 for _ in spatial))) + starts
        return relax.op.add(bb.emit(relax.op.take(constant(steps.ravel()), winner)), constant(base))


def _strides(extents: tuple[int, ...], column_major: int) -> list[int]:
    """Return how far apart neighbours along each axis lie."""
    if column_major:
        return [math.prod(extents[:axis]) for axis in range(len(extents))]
    return [math.prod(extents[axis + 1 :]) for axis in range(len(extents))]


def _padded_with_least(bb, data: relax.Expr, windows: Windows) -> relax.Expr:
    dtype = dtype_of(data)
    least = -math.inf if dtype.startswith("float") else np.iinfo(dtype).min
    spatial = len(windows.kernel)
    for axis, (before, after) in enumerate(
        zip(windows.pads[:spatial], windows.pads[spatial:], strict=True), 2
    ):
        shape = shape_of(data)
        edges = [
            [constant(np.full((*shape[:axis], count, *shape[axis + 1 :]), least, dtype))] if count else []
            for count in (before, after)
        ]
        if before or after:
            data = bb.emit(relax.op.concat([*edges[0], data, *edges[1]], axis))
    return data


class AveragePool(stock.OnnxOpConverter):
    """The averages; of the padding too, with ``count_include_pad``, but not of what lies beyond it."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        data, windows = inputs[0], Windows.of(inputs[0], attr)
        includes = bool(attr.get("count_include_pad", 0))
        if not (includes and any(windows.beyond)):
            return _pool("avg", data, windows, count_include_pad=includes)
        share = math.prod(windows.kernel) / windows.counts(includes)
        return relax.op.multiply(
            bb.emit(_pool("avg", data, windows, count_include_pad=True)),
            constant(share.astype(dtype_of(data))),
        )


class LpPool(stock.OnnxOpConverter):
    """(sum |x|^p)^(1 / p) of each window."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        data, windows = inputs[0], Windows.of(inputs[0], attr)
        dtype, p = dtype_of(data), float(attr.get("p", 2))
        powers = bb.emit(relax.op.power(bb.emit(relax.op.abs(data)), relax.const(p, dtype)))
        average = bb.emit(_pool("avg", powers, windows, count_include_pad=True))
        total = bb.emit(relax.op.multiply(average, relax.const(float(math.prod(windows.kernel)), dtype)))
        return relax.op.power(total, relax.const(1 / p, dtype))


class MaxUnpool(stock.OnnxOpConverter):
    """Each maximum back at its position, zeros elsewhere."""

    @classmethod
    def _impl_v9(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        data, indices, wanted = inputs[0], inputs[1], inputs[2]
        kernel = attr["kernel_shape"]
        ones, zeros = (1,) * len(kernel), (0,) * 2 * len(kernel)
        strides, pads = attr.get("strides", ones), attr.get("pads", zeros)
        sides = zip(shape_of(data)[2:], kernel, strides, pads, pads[len(kernel) :], strict=False)
        natural = [*shape_of(data)[:2], *((n - 1) * s + k - b - a for n, k, s, b, a in sides)]
        # The positions count in the natural shape, even where a larger one is asked for.
        flat = bb.emit(
            relax.op.scatter_elements(
                constant(np.zeros(math.prod(natural), dtype_of(data))),
                bb.emit(relax.op.reshape(indices, [-1])),
                bb.emit(relax.op.reshape(data, [-1])),
                axis=0,
            )
        )
        result = bb.emit(relax.op.reshape(flat, natural))
        if wanted is None:
            return result
        shape = [int(extent) for extent in stock.get_constant(wanted, params).value.numpy()]
        width = [count for extent, now in zip(shape, natural, strict=True) for count in (0, extent - now)]
        return relax.op.nn.pad(result, width)
