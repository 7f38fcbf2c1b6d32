"""What ONNX's standard says of operators that its reference evaluator does not compute, or not right."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np


def same_pads(extents, kernel, strides, dilations, mode: str) -> list[int]:
    """Return the pads of ``SAME_UPPER`` or ``SAME_LOWER`` (begin of each axis, then end of each)."""
    begins, ends = [], []
    for n, k, s, d in zip(extents, kernel, strides, dilations, strict=True):
        total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
        begins.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
        ends.append(total - begins[-1])
    return begins + ends


def windows(data: np.ndarray, kernel, strides, dilations, pads, value: float, ceil: bool = False):
    """Return [.., positions, taps of each axis], and which of the taps lie in the padded input.

    ``data`` [N, C, spatial..]; what lies beyond the padding, where ``ceil`` lets a window reach, is ``value`` too.
    """
    rank = len(kernel)
    places = []
    for axis in range(rank):
        n, k, s, d = data.shape[2 + axis], kernel[axis], strides[axis], dilations[axis]
        room = pads[axis] + n + pads[rank + axis] - (k - 1) * d - 1
        count = (math.ceil(room / s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= n + pads[axis]:
            count -= 1
        places.append(np.arange(count)[:, None] * s + np.arange(k) * d - pads[axis])
    inside, padded = np.ones(()), np.ones(())
    picked = data
    for axis, at in enumerate(places):
        extent = data.shape[2 + axis]
        inside = np.multiply.outer(inside, (at >= 0) & (at < extent))
        padded = np.multiply.outer(padded, (at >= -pads[axis]) & (at < extent + pads[rank + axis]))
        picked = np.take(picked, np.clip(at, 0, extent - 1), axis=2 + 2 * axis)
    return (
        np.where(inside.astype(bool), picked, np.asarray(value, data.dtype)),
        inside.astype(bool),
        padded.astype(bool),
    )


def convolution(data, weight, bias, strides, dilations, pads, groups: int) -> np.ndarray:
    """Return Conv in float64, then in the data's dtype."""
    rank = weight.ndim - 2
    taps, _, _ = windows(data.astype(np.float64), weight.shape[2:], strides, dilations, pads, 0.0)
    order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2)]
    taps = taps.transpose(order)  # [N, C, positions.., taps..]
    results = []
    for part, filters in zip(
        np.split(taps, groups, 1), np.split(weight.astype(np.float64), groups, 0), strict=True
    ):
        axes = [1, *range(2 + rank, 2 + 2 * rank)]
        results.append(np.moveaxis(np.tensordot(part, filters, (axes, list(range(1, 2 + rank)))), -1, 1))
    result = np.concatenate(results, 1)
    if bias is not None:
        result = result + bias.reshape(-1, *(1 for _ in range(rank)))
    return result.astype(data.dtype)


def transposed_convolution(
    data, weight, bias, strides, dilations, pads, output_padding, groups: int
) -> np.ndarray:
    """Return ConvTranspose: each element adds its multiple of the kernel to the result."""
    rank = weight.ndim - 2
    kernel, spatial = weight.shape[2:], data.shape[2:]
    shape = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(spatial, strides, kernel, dilations, output_padding, strict=True)
    ]
    whole = np.zeros((data.shape[0], weight.shape[1] * groups, *shape))
    for taps in itertools.product(*(range(k) for k in kernel)):
        parts = [
            np.einsum("nc...,cf->nf...", part, filters[(..., *taps)])
            for part, filters in zip(
                np.split(data.astype(np.float64), groups, 1),
                np.split(weight.astype(np.float64), groups, 0),
                strict=True,
            )
        ]
        place = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(taps, dilations, spatial, strides, strict=True)
        ]
        whole[(slice(None), slice(None), *place)] += np.concatenate(parts, 1)
    cut = [slice(pads[axis], extent - pads[rank + axis]) for axis, extent in enumerate(shape)]
    result = whole[(slice(None), slice(None), *cut)]
    if bias is not None:
        result = result + bias.reshape(-1, *(1 for _ in range(rank)))
    return result.astype(data.dtype)


def pooling(
    op_type: str,
    data,
    kernel,
    strides,
    dilations,
    pads,
    *,
    ceil: bool = False,
    includes: bool = False,
    p: int = 2,
) -> list[np.ndarray]:
    """Return MaxPool with its positions, AveragePool or LpPool."""
    rank = len(kernel)
    low = np.iinfo(data.dtype).min if np.issubdtype(data.dtype, np.integer) else -np.inf
    taps, inside, padded = windows(
        data, kernel, strides, dilations, pads, low if op_type == "MaxPool" else 0, ceil
    )
    over = tuple(range(3, 3 + 2 * rank, 2))
    if op_type == "LpPool":
        return [((np.abs(taps.astype(np.float64)) ** p).sum(over) ** (1 / p)).astype(data.dtype)]
    if op_type == "AveragePool":
        counts = (padded if includes else inside).sum(tuple(axis - 2 for axis in over))
        return [(taps.astype(np.float64).sum(over) / counts).astype(data.dtype)]
    numbers = np.arange(data.size).reshape(data.shape)
    places, _, _ = windows(numbers, kernel, strides, dilations, pads, -1, ceil)
    best = taps.max(over)
    is_best = taps == best.reshape([n if axis not in over else 1 for axis, n in enumerate(taps.shape)])
    return [best, np.where(is_best, places, data.size).min(over)]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def recurrent(
    op_type: str,
    x,
    w,
    r,
    b,
    lengths,
    h,
    c,
    p,
    directions: Sequence[bool],
    clip,
    coupled,
    after,
    multiply=None,
) -> list[np.ndarray]:
    """Return Y, Y_h and, of LSTM, Y_c: one direction and sample at a time, default activations.

    ``multiply`` takes a direction and a state, float32 ``[hidden]``, and returns its products with the recurrent
    weights, ``[gates * hidden]``; None for those with ``r``.
    """
    steps, batch, _ = x.shape
    hidden = r.shape[2]
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op_type]
    y = np.zeros((steps, len(directions), batch, hidden))
    last = np.zeros((2, len(directions), batch, hidden))

    def bounded(value):
        return value if clip is None else np.clip(value, -clip, clip)

    def multiplied(at, state):
        found = r[at] @ state if multiply is None else multiply(at, state.astype(np.float32))
        return found.reshape(gates, hidden)

    for at, is_reverse in enumerate(directions):
        own, first = np.split(b[at].reshape(2, gates, hidden), 2)[0][0], b[at].reshape(2, gates, hidden)[1]
        weights = w[at].reshape(gates, hidden, -1)
        peep = p[at].reshape(3, hidden)
        for sample in range(batch):
            state, cell = h[at, sample].astype(float), c[at, sample].astype(float)
            order = range(lengths[sample])
            for step in reversed(order) if is_reverse else order:
                inward = weights @ x[step, sample] + own
                around = multiplied(at, state) + first
                if op_type == "RNN":
                    state = np.tanh(bounded(inward[0] + around[0]))
                elif op_type == "GRU":
                    update, reset = (_sigmoid(bounded(inward[gate] + around[gate])) for gate in (0, 1))
                    product = reset * around[2] if after else multiplied(at, reset * state)[2] + first[2]
                    state = (1 - update) * np.tanh(bounded(inward[2] + product)) + update * state
                else:
                    total = inward + around
                    let_in = _sigmoid(bounded(total[0] + peep[0] * cell))
                    keep = 1 - let_in if coupled else _sigmoid(bounded(total[2] + peep[2] * cell))
                    cell = keep * cell + let_in * np.tanh(bounded(total[3]))
                    state = _sigmoid(bounded(total[1] + peep[1] * cell)) * np.tanh(cell)
                y[step, at, sample] = state
            last[:, at, sample] = state, cell
    return [part.astype(x.dtype) for part in (y, *last[: 2 if op_type == "LSTM" else 1])]
