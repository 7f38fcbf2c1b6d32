"""How near a model's outputs are to those of the float model: of each output by itself, so that none drowns.

    floats    cosine(x, x') = sum x x' / sqrt(sum x^2 sum x'^2)
    others    the share of elements that are the same

Outputs may have millions of elements or one, and sizes that differ a thousandfold; in one long vector of them all the
largest would be all that counts. A model is as near as the farthest of its outputs. Those that are no floats
(indices of the largest element, masks) follow from others, and from a step to the next: they count where there is
nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Outputs = Sequence[np.ndarray]
"""Of one sample, in the order of the model's."""


def cosine(exact: np.ndarray, given: np.ndarray) -> float:
    """Return the cosine of two arrays of one shape; 1 where both are zero, 0 where one is.

    NaN and infinity must be in the same places, or it is 0; elsewhere they are left out.
    """
    one, other = exact.ravel().astype(np.float64), given.ravel().astype(np.float64)
    finite = np.isfinite(one)
    if not (
        np.isfinite(other[finite]).all() and np.array_equal(one[~finite], other[~finite], equal_nan=True)
    ):
        return 0.0
    one, other = one[finite], other[finite]
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else float(not one.any() and not other.any())


def is_float(array: np.ndarray) -> bool:
    """Tell whether an output is compared by its values; bfloat16 has a kind of its own."""
    return array.dtype.kind not in "biu"


def counted(outputs: Outputs) -> list[int]:
    """Return the places of the outputs that count."""
    return [place for place, array in enumerate(outputs) if is_float(array)] or list(range(len(outputs)))


def nearness(reference: Sequence[Outputs], results: Sequence[Outputs]) -> float:
    """Return how near results are, at most 1: the least over outputs of the mean over samples.

    An output of one element has a cosine of 1 or -1 in every sample, so its values in all samples are one vector.
    """
    found = []
    for place in counted(reference[0]):
        pairs = [(exact[place], given[place]) for exact, given in zip(reference, results, strict=True)]
        if pairs[0][0].size == 1:
            exact, given = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
            pairs = [(exact, given)]
        found.append(float(np.mean([_nearness(exact, given) for exact, given in pairs])))
    return min(found)


def _nearness(exact: np.ndarray, given: np.ndarray) -> float:
    if is_float(exact):
        return cosine(exact, given)
    return float(np.mean(exact == given)) if exact.size else 1.0
