"""Every node test of the operators in the table passes, or is a known limit that still shows its message."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.frontends.onnx.tensors import storage_of

from .cases import Case, load_cases
from .limits import LIMITS
from .path import compile_and_run


def _stored(array: np.ndarray) -> np.ndarray:
    """Return integers of fewer than 8 bits in 8, as they are fed and returned."""
    return array.astype(storage_of(array.dtype.name))


def _check(case: Case) -> None:
    results = compile_and_run(case.model, {name: _stored(array) for name, array in case.inputs.items()})
    assert len(results) == len(case.expected)
    for result, expected in zip(results, map(_stored, case.expected), strict=True):
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
        if np.issubdtype(expected.dtype, np.floating):
            np.testing.assert_allclose(result, expected, case.rtol, case.atol)
        else:
            np.testing.assert_array_equal(result, expected)


def test_limits_name_cases() -> None:
    assert LIMITS.keys() <= load_cases().keys()


@pytest.mark.parametrize("name", sorted(load_cases().keys() - LIMITS.keys()))
def test_passes(name: str) -> None:
    _check(load_cases()[name])


@pytest.mark.parametrize("name", sorted(load_cases().keys() & LIMITS.keys()))
def test_limit_still_holds(name: str) -> None:
    with pytest.raises(Exception) as caught:
        _check(load_cases()[name])
    assert LIMITS[name].message in str(caught.value)
