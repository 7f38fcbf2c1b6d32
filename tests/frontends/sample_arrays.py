"""Arrays, and what samples are compared with."""

from __future__ import annotations

import numpy as np

SPECS = {"x": ((1, 3, 4, 5), "float32")}


def random_array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_samples(samples, expected: list[dict[str, np.ndarray]]) -> None:
    """Compare names, dtypes, shapes and values, over two passes."""
    assert len(samples) == len(expected)
    for _ in range(2):
        found = list(samples)
        assert len(found) == len(expected)
        for left, right in zip(found, expected, strict=True):
            assert left.keys() == right.keys()
            for name, array in left.items():
                assert array.dtype == right[name].dtype
                np.testing.assert_array_equal(array, right[name], strict=True)
