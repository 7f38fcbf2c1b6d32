"""Second moments of what a weighted operator multiplies with its weights.

    y = W x        W [G, O / G, K],  x [G, K, n]: n columns of K values each, for each of G groups of channels

A convolution's columns are the windows that its filter sees (im2col), a matrix product's the rows of its operand.
A depthwise convolution has as many groups as channels, so its moments are one small matrix a channel.

Covariances take K^2 numbers. Where that is too many, a column is cut into blocks, and values of different blocks are
taken to be uncorrelated:  G groups of K values  -->  G B groups of K / B values, whose results are added.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tvm import relax

from ..hub.graph import layer_name, op_name, shape_of

logger = logging.getLogger(__name__)

ELEMENTS = 4608**2
"""Of the covariances of a layer at most, 170 MB: those of 512 channels under a filter of 3 x 3 are kept whole."""


def grouped(call: relax.Call, weight: np.ndarray) -> np.ndarray:
    """Return a weighted operator's weights, OIHW or ``[K, N]``, as ``[G, O / G, K]``."""
    if op_name(call) == "relax.matmul":
        return weight.T[None]
    groups = call.attrs.groups
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def grouped_shape(call: relax.Call) -> tuple[int, int, int]:
    """Return the shape ``(G, O / G, K)`` of a weighted operator's weights in groups."""
    shape = shape_of(call.args[1])
    if op_name(call) == "relax.matmul":
        return 1, shape[1], shape[0]
    groups = int(call.attrs.groups)
    return groups, shape[0] // groups, math.prod(shape[1:])


def ungrouped(call: relax.Call, weight: np.ndarray) -> np.ndarray:
    """Return ``[G, O / G, K]`` as weights in the operator's own form: the inverse of ``grouped``."""
    return weight[0].T if op_name(call) == "relax.matmul" else weight.reshape(shape_of(call.args[1]))


def columns(call: relax.Call, data: np.ndarray) -> np.ndarray:
    """Return the columns ``[G, K, n]`` of a weighted operator's operand, float32 as ``data`` is."""
    if op_name(call) == "relax.matmul":
        return data.reshape(-1, data.shape[-1]).T[None]
    attrs = call.attrs
    top, left, bottom, right = (int(extent) for extent in attrs.padding)
    strides, dilation = [int(step) for step in attrs.strides], [int(step) for step in attrs.dilation]
    taps = shape_of(call.args[1])[2:]
    padded = np.pad(data, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(count - 1) * step + 1 for count, step in zip(taps, dilation, strict=True)]
    windows = sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilation[0], :: dilation[1]]
    # (N, C, OH, OW, KH, KW) -> (C, KH, KW, N, OH, OW)
    return windows.transpose(1, 4, 5, 0, 2, 3).reshape(int(attrs.groups), -1, windows[:, 0, ..., 0, 0].size)


@dataclass(frozen=True)
class Blocks:
    """How columns of ``length`` values are cut: into ``count`` blocks, the last one filled up with zeros."""

    length: int
    count: int

    @classmethod
    def of(cls, groups: int, length: int) -> Blocks:
        """Return the fewest blocks whose covariances have no more than ``ELEMENTS``."""
        size = max(1, min(length, ELEMENTS // (groups * length)))
        return cls(length, -(-length // size))

    @property
    def size(self) -> int:
        return -(-self.length // self.count)

    def split(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Return ``[G, .., K, ..]``, with K on that axis, as ``[G B, .., K / B, ..]``."""
        if self.count == 1:
            return values
        moved = np.moveaxis(values, axis, 1)
        filled = np.zeros((len(moved), self.count * self.size, *moved.shape[2:]), values.dtype)
        filled[:, : self.length] = moved
        return np.moveaxis(filled.reshape(-1, self.size, *moved.shape[2:]), 1, axis)

    def join(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Return ``[G B, .., K / B, ..]`` as ``[G, .., K, ..]``: the inverse of ``split``."""
        if self.count == 1:
            return values
        moved = np.moveaxis(values, axis, 1)
        whole = moved.reshape(-1, self.count * self.size, *moved.shape[2:])[:, : self.length]
        return np.moveaxis(whole, 1, axis)


class Moments:
    """Means and covariances of the columns in the float model and in the quantized one, over all samples.

    Attributes
    ----------
    count : columns seen.
    blocks : how columns are cut for the covariances: below, ``GB`` is the number of groups times that of blocks.
    """

    def __init__(self, call: relax.Call):
        self._call = call
        groups, _, length = grouped_shape(call)
        self.blocks = blocks = Blocks.of(groups, length)
        if blocks.count > 1:
            logger.warning(
                "layer %r has %d weights a channel: their correlations are taken within %d blocks of %d alone",
                layer_name(call),
                length,
                blocks.count,
                blocks.size,
            )
        self.count = 0
        self._origins: tuple[np.ndarray, ...] = ()
        self._sums: list[np.ndarray] = []
        self._squares: np.ndarray = np.zeros(())
        self._products: np.ndarray = np.zeros(())

    def update(self, exact: np.ndarray, quantized: np.ndarray) -> None:
        """Take in the operand of one sample, as the float model and as the quantized one gives it."""
        seen = [self.blocks.split(columns(self._call, data), 1) for data in (exact, quantized)]
        if not self.count:
            # float32 products of values that are not around their mean would drown small variances.
            self._origins = tuple(x.mean(-1, dtype=np.float64).astype(np.float32)[..., None] for x in seen)
            groups, rows, _ = seen[0].shape
            self._sums = [np.zeros((groups, rows)) for _ in seen]
            self._squares, self._products = np.zeros((2, groups, rows, rows))
        x, y = (data - origin for data, origin in zip(seen, self._origins, strict=True))
        behind = y.transpose(0, 2, 1)
        self.count += x.shape[-1]
        for total, data in zip(self._sums, (x, y), strict=True):
            total += data.sum(-1)  # pairwise
        self._squares += y @ behind
        self._products += x @ behind

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean columns of the float and of the quantized model, float64 ``[G, K]``."""
        exact, quantized = (
            self.blocks.join(origin[..., 0] + offset, 1)
            for origin, offset in zip(self._origins, self._offsets, strict=True)
        )
        return exact, quantized

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the quantized columns, float64 ``[GB, K / B, K / B]``."""
        offset = self._offsets[1]
        return self._squares / self.count - offset[:, :, None] * offset[:, None, :]

    @property
    def cross_covariance(self) -> np.ndarray:
        """Covariance of float columns (rows) with quantized ones, float64 ``[GB, K / B, K / B]``."""
        exact, quantized = self._offsets
        return self._products / self.count - exact[:, :, None] * quantized[:, None, :]

    @property
    def _offsets(self) -> list[np.ndarray]:
        """Means around the origins."""
        return [total / self.count for total in self._sums]
