"""Float weights --> indices into a table of 2^bits values that k-means finds.

    w ~ table[code]      table, code = argmin sum (w - table[code])^2

Source: Han et al., "Deep Compression", 2016, section 3. The entries start as quantiles of the weights' density to the
power of 1/3, which is how the best entries of a large table lie (Panter and Dite, 1951); from the quantiles themselves
k-means takes long to reach the tails. Of a large layer it sees as many quantiles of the weights as ``POINTS`` says.
"""

from __future__ import annotations

import warnings

import numpy as np

from ...errors import TvmqError
from .codes import Codebook

ITERATIONS = 20
BINS = 1024
POINTS = 2**15


def codebook(weight: np.ndarray, bits: int, name: str) -> Codebook:
    """Return the weights compressed.

    Parameters
    ----------
    weight : finite float32 of any shape.
    bits : of an index, 1 to 8.
    name : of the layer, for errors.

    Raises
    ------
    TvmqError : the table would have more entries than there are weights.
    """
    from scipy.cluster.vq import kmeans2, vq

    if 2**bits > weight.size:
        raise TvmqError(
            f"layer {name!r}: a codebook of {2**bits} entries is more than its {weight.size} weights; give the layer "
            "fewer bits (--layer-bits), or skip it"
        )
    points = np.sort(weight, axis=None).astype(np.float64)
    if points.size > POINTS:
        points = np.quantile(points, _shares(POINTS))
    counts, edges = np.histogram(points, BINS)
    density = np.cumsum(np.cbrt(counts))
    start = np.interp(_shares(2**bits) * density[-1], density, edges[1:])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # it keeps its entry
        centers, _ = kmeans2(points, start, iter=ITERATIONS, minit="matrix", missing="warn")
    table = np.sort(centers).astype(np.float32)
    codes, _ = vq(weight.reshape(-1, 1), table[:, None])
    return Codebook(bits, codes.reshape(weight.shape).astype(np.uint16), table)


def _shares(entries: int) -> np.ndarray:
    """Return the middles of ``entries`` equal parts of (0, 1)."""
    return (np.arange(entries) + 0.5) / entries
