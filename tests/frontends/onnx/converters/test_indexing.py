"""Indices out of range take the nearest element, and no memory that is not theirs."""

from __future__ import annotations

import numpy as np
import pytest

from ...nodes import run_node

DATA = np.arange(12, dtype="f4").reshape(3, 4)


@pytest.mark.parametrize("constants", [(), (1,)])
def test_gathers(constants: tuple[int, ...]) -> None:
    indices = np.array([[0, 99, -1, -(1 << 40)]])
    (found,) = run_node("GatherElements", DATA, indices, constants=constants, axis=0)
    np.testing.assert_array_equal(found, [[0, 9, 10, 3]])
    (found,) = run_node("GatherND", DATA, np.array([[0, 3], [7, -9], [-1, 9]]), constants=constants)
    np.testing.assert_array_equal(found, [3, 8, 11])


@pytest.mark.parametrize("constants", [(), (1,)])
def test_scatters(constants: tuple[int, ...]) -> None:
    updates = np.array([[50.0, 60.0]], "f4")
    (found,) = run_node("ScatterElements", DATA, np.array([[9, -1]]), updates, constants=constants, axis=1)
    assert found[0, 3] in (50.0, 60.0)  # both write there; the order is open
    np.testing.assert_array_equal(found[0, :3], DATA[0, :3])
    (found,) = run_node("ScatterND", DATA, np.array([[1, 77]]), np.array([5.0], "f4"), constants=constants)
    assert found[1, 3] == 5.0 and (found != DATA).sum() == 1
