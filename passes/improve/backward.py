"""Operators forwards and backwards, in NumPy: what gradients of a block's error go through.

    y = W x            dx = W^T dy,  dW = dy x^T        a convolution's x are the windows that its filter sees
    y = clip(x, l, h)  dx = dy where l < x < h, else 0
    y = a + b          da = db = dy                 b may be a constant
    y = mean(x)        dx = dy / n

Images are ``[N, H, W, C]`` here, so that a convolution of one tap is one product of matrices, and a depthwise one has
channels in its vectors; weights stay OIHW or ``[K, N]``. Everything is float32. Each rule keeps what its ``backward``
needs from the ``forward`` before. ``RULES`` has a row for each operator that has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from tvm import relax

from ..hub.graph import op_name, shape_of
from ..prepare.affine import as_affine, per_channel
from .kernels import Kernel, depthwise

Arrays = tuple[np.ndarray, ...]


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return an array of the module as rules take it: an image as ``[N, H, W, C]``, all else as it is."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


class Rule(Protocol):
    """One operator's call."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        """Return the result."""
        ...

    def backward(self, gradient: np.ndarray) -> Arrays:
        """Return the gradients of the operands of the last ``forward`` from that of its result."""
        ...


class Weighted:
    """An operator of data and weights, whose gradients can be had one by one: weights that are constant need none."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def to_data(self, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient of the data of the last ``forward``."""
        raise NotImplementedError

    def to_weight(self, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient of the weights of the last ``forward``."""
        raise NotImplementedError

    def backward(self, gradient: np.ndarray) -> Arrays:
        return self.to_data(gradient), self.to_weight(gradient)


class Product(Weighted):
    """``x @ W`` along the last axis, W ``[K, N]``: one product of matrices, NumPy's of more axes take twice as long."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        data, self._weight = operands
        self._rows = data.reshape(-1, data.shape[-1])
        return (self._rows @ self._weight).reshape(*data.shape[:-1], -1)

    def to_data(self, gradient: np.ndarray) -> np.ndarray:
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (rows @ self._weight.T).reshape(*gradient.shape[:-1], -1)

    def to_weight(self, gradient: np.ndarray) -> np.ndarray:
        return self._rows.T @ gradient.reshape(-1, gradient.shape[-1])


class _Windows:
    """What a filter sees: one strided view of the padded image for each of its taps."""

    def __init__(self, call: relax.Call):
        attrs = call.attrs
        self._padding = [int(extent) for extent in attrs.padding]
        self.strides = _rows_and_columns(attrs.strides)
        self.dilation = _rows_and_columns(attrs.dilation)
        self.taps = _rows_and_columns(shape_of(call.args[1])[2:])

    def padded(self, data: np.ndarray) -> np.ndarray:
        top, left, bottom, right = self._padding
        return np.pad(data, ((0, 0), (top, bottom), (left, right), (0, 0))) if any(self._padding) else data

    def inside(self, padded: np.ndarray) -> np.ndarray:
        """Return the image without its padding."""
        top, left, bottom, right = self._padding
        return padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]

    def result_shape(self, padded: np.ndarray) -> tuple[int, ...]:
        """Return ``(N, OH, OW, C)``."""
        rows, columns = (
            (size - (taps - 1) * dilation - 1) // stride + 1
            for size, taps, dilation, stride in zip(
                padded.shape[1:3], self.taps, self.dilation, self.strides, strict=True
            )
        )
        return padded.shape[0], rows, columns, padded.shape[3]

    def views(self, padded: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Give row, column and view ``[N, OH, OW, C]`` of each tap."""
        _, rows, columns, _ = self.result_shape(padded)
        down, right = self.strides
        for row, column in np.ndindex(*self.taps):
            top, left = row * self.dilation[0], column * self.dilation[1]
            yield (
                row,
                column,
                padded[:, top : top + rows * down : down, left : left + columns * right : right],
            )


def _rows_and_columns(extents: Sequence[Any]) -> tuple[int, int]:
    rows, columns = (int(extent) for extent in extents)
    return rows, columns


class Convolution(Weighted):
    """A convolution of all channels, W ``[O, C, KH, KW]``, as a product of matrices."""

    def __init__(self, call: relax.Call):
        self._windows = _Windows(call)
        self._product = Product()

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        data, self._weight = operands
        padded = self._windows.padded(data)
        self._shape = padded.shape
        views = [view for _, _, view in self._windows.views(padded)]
        columns = views[0] if len(views) == 1 else np.concatenate(views, axis=-1)
        matrix = self._weight.transpose(2, 3, 1, 0).reshape(-1, len(self._weight))
        return self._product.forward(np.ascontiguousarray(columns), matrix)

    def to_data(self, gradient: np.ndarray) -> np.ndarray:
        columns = self._product.to_data(gradient)
        channels, taps = self._shape[-1], self._weight.shape[2:]
        padded = np.zeros(self._shape, np.float32)
        for row, column, view in self._windows.views(padded):
            start = (row * taps[1] + column) * channels
            view += columns[..., start : start + channels]
        return self._windows.inside(padded)

    def to_weight(self, gradient: np.ndarray) -> np.ndarray:
        matrix = self._product.to_weight(gradient)
        return matrix.reshape(*self._weight.shape[2:], self._shape[-1], -1).transpose(3, 2, 0, 1)


class Depthwise(Weighted):
    """A convolution of each channel with a filter of its own, W ``[C, 1, KH, KW]``."""

    def __init__(self, call: relax.Call):
        self._windows = _Windows(call)
        self._channels = shape_of(call.args[1])[0]

    @cached_property
    def _kernels(self) -> tuple[Kernel, Kernel, Kernel]:
        # Not before they run: whoever only asks for a rule does not wait for a compiler.
        windows = self._windows
        return depthwise(self._channels, windows.taps, windows.strides, windows.dilation)

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        data, weight = operands
        self._padded = self._windows.padded(data)
        self._weight = weight[:, 0].transpose(1, 2, 0)
        result = np.empty(self._windows.result_shape(self._padded), np.float32)
        self._kernels[0](self._padded, self._weight, result)
        return result

    def to_data(self, gradient: np.ndarray) -> np.ndarray:
        padded = np.empty(self._padded.shape, np.float32)
        self._kernels[1](self._weight, gradient, padded)
        return self._windows.inside(padded)

    def to_weight(self, gradient: np.ndarray) -> np.ndarray:
        weights = np.empty((len(gradient), *self._weight.shape), np.float32)
        self._kernels[2](self._padded, gradient, weights)
        return weights.sum(axis=0).transpose(2, 0, 1)[:, None]


class Clip:
    """The values between two limits."""

    def __init__(self, low: float, high: float):
        self._low, self._high = np.float32(low), np.float32(high)

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        (self._data,) = operands
        return np.clip(self._data, self._low, self._high)

    def backward(self, gradient: np.ndarray) -> Arrays:
        return (gradient * ((self._data > self._low) & (self._data < self._high)),)


class Offset:
    """A constant added to every sample, float32 and as long as the last axis, or one number."""

    def __init__(self, values: np.ndarray):
        self._values = values

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0] + self._values

    def backward(self, gradient: np.ndarray) -> Arrays:
        return (gradient,)


class Sum:
    """The sum of two tensors of one shape."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0] + operands[1]

    def backward(self, gradient: np.ndarray) -> Arrays:
        return gradient, gradient


class Mean:
    """The mean over an image, ``[N, 1, 1, C]``."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        self._shape = operands[0].shape
        return operands[0].mean(axis=(1, 2), keepdims=True)

    def backward(self, gradient: np.ndarray) -> Arrays:
        return (np.broadcast_to(gradient / np.float32(self._shape[1] * self._shape[2]), self._shape),)


class Flatten:
    """An image of one pixel, ``[N, 1, 1, C]``, as a row ``[N, C]``."""

    def forward(self, *operands: np.ndarray) -> np.ndarray:
        self._shape = operands[0].shape
        return operands[0].reshape(self._shape[0], -1)

    def backward(self, gradient: np.ndarray) -> Arrays:
        return (gradient.reshape(self._shape),)


def _convolution(call: relax.Call) -> Rule | None:
    groups, (out_channels, per_group) = int(call.attrs.groups), shape_of(call.args[1])[:2]
    if groups == 1:
        return Convolution(call)
    return Depthwise(call) if per_group == 1 and groups == out_channels else None


def _product(call: relax.Call) -> Rule | None:
    # The last axis of what is an image in the module is not the last one here.
    return Product() if len(shape_of(call.args[0])) != 4 else None


def _sum(call: relax.Call) -> Rule | None:
    affine, shape = as_affine(call), shape_of(call)
    if affine is None:
        return Sum() if {shape_of(argument) for argument in call.args} == {shape} else None
    values = per_channel(affine.shift, shape, 1 if len(shape) == 4 else -1)
    return None if values is None else Offset(values.astype(np.float32))


def _clip(call: relax.Call) -> Rule:
    return Clip(float(call.args[1].value), float(call.args[2].value))


def _pool(call: relax.Call) -> Rule | None:
    return Mean() if [int(extent) for extent in call.attrs.output_size] == [1, 1] else None


def _mean(call: relax.Call) -> Rule | None:
    rank, axes = len(shape_of(call.args[0])), call.attrs.axis
    over_image = rank == 4 and axes is not None and {int(axis) % rank for axis in axes} == {2, 3}
    return Mean() if over_image and call.attrs.keepdims else None


def _flatten(call: relax.Call) -> Rule | None:
    data, result = shape_of(call.args[0]), shape_of(call)
    return Flatten() if len(data) == 4 and data[2:] == (1, 1) and result == data[:2] else None


RULES: dict[str, Callable[[relax.Call], Rule | None]] = {
    "relax.nn.conv2d": _convolution,
    "relax.matmul": _product,
    "relax.add": _sum,
    "relax.nn.relu": lambda call: Clip(0.0, np.inf),
    "relax.clip": _clip,
    "relax.nn.adaptive_avg_pool2d": _pool,
    "relax.mean": _mean,
    "relax.reshape": _flatten,
    "relax.flatten": _flatten,
}
"""The rule of a call of each operator; None where this call has none."""


def rule_of(call: relax.Expr) -> Rule | None:
    """Return the rule of a call; None where it has none."""
    make = RULES.get(op_name(call))
    return None if make is None else make(call)
