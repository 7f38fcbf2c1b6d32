from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.runtime.outputs import bind_outputs

A = {"name": "a", "shape": [2, 3], "dtype": "float32"}
B = {"name": "b", "shape": [1], "dtype": "int8"}


def read_only():
    array = np.zeros((2, 3), "float32")
    array.flags.writeable = False
    return array


def test_arrays_come_in_the_models_order_and_some_may_lack():
    a = np.zeros((2, 3), "float32")
    assert bind_outputs([B, A], None) == [None, None]
    assert bind_outputs([B, A], {}) == [None, None]
    first, second = bind_outputs([B, A], {"a": a})
    assert first is None
    assert second is a
    assert bind_outputs([A], a)[0] is a


def test_any_layout_takes_an_output():
    array = np.zeros((3, 4), "float32").T[::2]
    assert bind_outputs([{**A, "shape": [2, 3]}], array)[0] is array


def test_memory_of_others_is_written_through():
    array = np.zeros((2, 3), "float32")
    (view,) = bind_outputs([A], memoryview(array))
    view[...] = 7
    assert (array == 7).all()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"c": np.zeros(1)}, "unknown output 'c'; valid: a, b"),
        (np.zeros((2, 3), "float32"), "the model has 2 outputs; expected {name: array} of ['a', 'b']"),
        ({"a": np.zeros((3, 2), "float32")}, "out['a'] has shape [3, 2]; expected [2, 3]"),
        ({"a": np.zeros((2, 3))}, "out['a'] has dtype float64; expected float32"),
        ({"a": read_only()}, "out['a'] is read-only"),
        (
            {"a": [[0.0] * 3] * 2},
            "out['a'] has no memory to write to: list; expected an array",
        ),
    ],
)
def test_what_cannot_take_an_output_is_named(out, message):
    with pytest.raises(TvmqError) as caught:
        bind_outputs([A, B], out)
    assert str(caught.value) == message
