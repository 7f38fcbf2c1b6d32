"""All parameters are one vector, in which each can be read in place."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.train.parameter import BIASES, PLACES, STEPS, Parameter
from tvmq.passes.train.vector import Vector

PARAMETERS = [
    Parameter("a", PLACES, np.arange(6, dtype=np.float32).reshape(2, 3), 1.0),
    Parameter("b", STEPS, np.array(7.0, np.float32), 1.0),
    Parameter("a", BIASES, np.arange(20, dtype=np.float32), np.arange(20, dtype=np.float32)),
]


def test_views_are_aligned_and_share_memory():
    vector = Vector(PARAMETERS)
    for view, parameter in zip(vector.views(vector.values), PARAMETERS, strict=True):
        assert np.array_equal(view, parameter.values)
        assert view.shape == parameter.values.shape
        assert view.ctypes.data % 64 == 0
    vector.named()["steps:b"][...] = 3.0
    assert vector.views(vector.values)[1] == 3.0


def test_a_vector_of_units():
    vector = Vector(PARAMETERS)
    units = vector.views(vector.like([parameter.unit for parameter in PARAMETERS]))
    assert (units[0] == 1.0).all()
    assert np.array_equal(units[2], np.arange(20))


def test_new_values():
    vector = Vector(PARAMETERS)
    vector.put({"biases:a": np.ones(20, np.float32)})
    assert (vector.named()["biases:a"] == 1.0).all()
    with pytest.raises(KeyError):
        vector.put({"biases:z": np.ones(20, np.float32)})
    with pytest.raises(ValueError, match="broadcast"):
        vector.put({"biases:a": np.ones(21, np.float32)})
