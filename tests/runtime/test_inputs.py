from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.runtime.inputs import bind_inputs


def bind(value, dtype="float32", shape=(2,)):
    return bind_inputs([{"name": "x", "shape": list(shape), "dtype": dtype}], {"x": value})[0]


def test_arrays_come_in_the_models_order():
    tensors = [{"name": name, "shape": [1], "dtype": "int8"} for name in ("b", "a")]
    arrays = bind_inputs(tensors, {"a": np.int8([1]), "b": np.int8([2])})
    assert [int(array[0]) for array in arrays] == [2, 1]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.float64([0.1, np.inf]), "float32"),
        (np.int64([-128, 127]), "int8"),
        (np.uint8([0, 127]), "int8"),
        (np.int64([0, 255]), "uint8"),
        (np.array([True, False]), "float32"),
        ([1, 2], "float32"),
    ],
)
def test_values_that_survive_are_converted(value, dtype):
    array = bind(value, dtype)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.asarray(value).astype(dtype))


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (np.int64([0, 128]), "int8", "input 'x' has dtype int64 with values that int8 cannot hold"),
        (np.int64([-1, 0]), "uint8", "input 'x' has dtype int64 with values that uint8 cannot hold"),
        (
            np.float64([0, 1e300]),
            "float32",
            "input 'x' has dtype float64 with values that float32 cannot hold",
        ),
        (np.float32([0, 1]), "int8", "input 'x' has dtype float32; expected int8"),
        (np.complex64([0, 1]), "float32", "input 'x' has dtype complex64; expected float32"),
        (np.array(["a", "b"]), "float32", "input 'x' has dtype <U1; expected float32"),
        (np.float32([[0, 1]]), "float32", "input 'x' has shape [1, 2]; expected [2]"),
        ([[1], [1, 2]], "float32", "input 'x' is not an array"),
    ],
)
def test_other_values_are_refused_by_name(value, dtype, message):
    with pytest.raises(TvmqError) as caught:
        bind(value, dtype)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_indices_beyond_their_table_are_refused(dtype):
    tensors = [{"name": "ids", "shape": [2], "dtype": dtype, "range": [-10, 9]}]
    for fine in ([0, 9], [-10, 3]):
        np.testing.assert_array_equal(bind_inputs(tensors, {"ids": np.array(fine)})[0], fine)
    for bad in (10, -11):
        message = rf"^input 'ids' has the value {bad}; expected indices from -10 to 9$"
        with pytest.raises(TvmqError, match=message):
            bind_inputs(tensors, {"ids": np.array([1, bad])})


def test_no_indices_are_none_beyond_the_table():
    tensors = [{"name": "ids", "shape": [0], "dtype": "int64", "range": [0, 9]}]
    assert bind_inputs(tensors, {"ids": np.zeros(0, np.int64)})[0].size == 0


def test_unknown_and_missing_inputs_are_named():
    tensors = [{"name": "image", "shape": [1], "dtype": "float32"}]
    with pytest.raises(TvmqError, match=r"unknown input 'imgae'; did you mean 'image'\?"):
        bind_inputs(tensors, {"imgae": np.float32([0])})
    with pytest.raises(TvmqError, match="no array for input 'image'"):
        bind_inputs(tensors, {})


def test_one_input_needs_no_name_and_several_do():
    tensors = [{"name": name, "shape": [1], "dtype": "int8"} for name in ("b", "a")]
    array = np.int8([1])
    assert bind_inputs(tensors[:1], array)[0] is array
    with pytest.raises(TvmqError, match=r"the model has 2 inputs; expected \{name: array\} of \['b', 'a'\]"):
        bind_inputs(tensors, array)
