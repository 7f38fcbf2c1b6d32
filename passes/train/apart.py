"""Whether each row of a batch is computed apart from the others.

    f(x)[k]  =  f(x')[k]     wherever  x[k] = x'[k]

Shapes alone do not say so: a softmax along the samples' axis, or a reshape that moves it, fits as well. For each bit of
the rows' numbers those that have it keep their values while the others change, and the other way round: two numbers
differ in one bit at least, so that whatever one row does to another shows. A kernel does the same to the same row, so
results are compared bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tvm import IRModule

from ..hub.graph import dtype_of, shape_of
from ..hub.indices import index_ranges
from ..hub.pairs import activation_pairs

ALONE = "samples are learned from one at a time: in a batch, those of this model would change each other's results"
"""What is said where rows are not apart."""


def is_apart(
    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]],
    draws: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    count: int,
) -> bool:
    """Tell whether a function computes the samples of a batch apart from each other.

    Parameters
    ----------
    run : takes inputs and gives results, each with ``count`` samples along its first axis.
    draws : two lists of inputs with other values.
    """
    first, second = draws
    whole = [_rows(array, count) for array in run(first)]
    for kept in _choices(count):
        mixed = [_chosen(kept, one, other) for one, other in zip(first, second, strict=True)]
        for before, after in zip(whole, run(mixed), strict=True):
            if not np.array_equal(before[kept], _rows(after, count)[kept], equal_nan=True):
                return False
    return True


def _choices(count: int) -> Iterator[np.ndarray]:
    """Give the rows that keep their values, as booleans ``[count]``."""
    numbers = np.arange(count)
    for bit in range((count - 1).bit_length()):
        has = (numbers >> bit) % 2 == 1
        yield has
        yield ~has


def _chosen(kept: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    rows = np.where(kept[:, None], _rows(one, len(kept)), _rows(other, len(kept)))
    return rows.reshape(one.shape)


def _rows(array: np.ndarray, count: int) -> np.ndarray:
    return np.array(array).reshape(count, -1)


def draws_for(mod: IRModule, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return two draws of inputs for ``count`` times the samples of a calibrated hub, in the order of its inputs.

    Values are as large as those that the input was calibrated with, and indices those of rows that there are.
    """
    ranges = {
        pair.name: pair.range for pair in activation_pairs(mod) if pair.source in set(mod["main"].params)
    }
    indices = index_ranges(mod)

    def draw(seed: int) -> list[np.ndarray]:
        rng, found = np.random.default_rng(seed), []
        for param in mod["main"].params:
            dtype, (first, *others) = dtype_of(param), shape_of(param)
            extents = (count * first, *others)
            if np.issubdtype(np.dtype(dtype), np.floating):
                found.append(rng.uniform(*ranges.get(param.name, (-1.0, 1.0)), extents).astype(dtype))
            else:
                low, high = indices.get(param.name, (0, 1))
                found.append(rng.integers(low, high + 1, extents).astype(dtype))
        return found

    return draw(0), draw(1)
