"""Float weights --> indices into a table of 2^bits values that k-means finds, and a scale an output channel.

    w ~ table[code] * s      s = max |w| of the channel; table, code = argmin sum (w / s - table[code])^2

Without scales the entries lie where channels of large weights have theirs, and those of small ones get next to none.
Source: Han et al., "Deep Compression", 2016, section 3. The entries start as quantiles of the weights' density to the
power of 1/3, which is how the best entries of a large table lie (Panter and Dite, 1951); from the quantiles themselves
k-means takes long to reach the tails. Of a large layer it sees as many quantiles of the weights as ``POINTS`` says.
Some weights have the entry on their other side for the sums of their kernels (``kernel_sums.py``).
"""

from __future__ import annotations

import warnings

import numpy as np

from ...errors import TvmqError
from ..hub.codes import Codebook
from ..hub.parameters import weight_parameters
from .kernel_sums import to_switch

ITERATIONS = 20
BINS = 1024
POINTS = 2**15


def codebook(weight: np.ndarray, axis: int, bits: int, name: str, per_channel: bool = True) -> Codebook:
    """Return the weights compressed.

    Parameters
    ----------
    weight : finite float32, OIHW or ``[K, N]``.
    axis : of the output channels.
    bits : of an index, 1 to 8.
    name : of the layer, for errors.
    per_channel : else one scale for all weights.

    Raises
    ------
    TvmqError : the table would have more entries than there are weights.
    """
    if 2**bits > weight.size:
        raise TvmqError(
            f"layer {name!r}: a codebook of {2**bits} entries is more than its {weight.size} weights; give the layer "
            "fewer bits (--layer-bits), or skip it"
        )
    others = tuple(place for place in range(weight.ndim) if place != axis or not per_channel)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = weight_parameters(largest.reshape(-1), 2).reshape(largest.shape)
    relative = weight / scales
    table = _table(relative, bits)
    codes = np.searchsorted((table[1:] + table[:-1]) / 2, relative)
    if weight.ndim == 4:
        other = np.clip(codes + np.where(relative > table[codes], 1, -1), 0, table.size - 1)
        other = np.where((table[other] > relative) == (table[codes] > relative), codes, other)
        codes = np.where(to_switch(table[codes], table[other], relative), other, codes)
    return Codebook(bits, codes.astype(np.uint16), table, scales)


def _table(values: np.ndarray, bits: int) -> np.ndarray:
    """Return the entries, ascending, float32."""
    from scipy.cluster.vq import kmeans2

    points = np.sort(values, axis=None).astype(np.float64)
    if points.size > POINTS:
        points = np.quantile(points, _shares(POINTS))
    counts, edges = np.histogram(points, BINS)
    density = np.cumsum(np.cbrt(counts))
    start = np.interp(_shares(2**bits) * density[-1], density, edges[1:])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # it keeps its entry
        centers, _ = kmeans2(points, start, iter=ITERATIONS, minit="matrix", missing="warn")
    return np.sort(centers).astype(np.float32)


def _shares(entries: int) -> np.ndarray:
    """Return the middles of ``entries`` equal parts of (0, 1)."""
    return (np.arange(entries) + 0.5) / entries
