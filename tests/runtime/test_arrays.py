from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi

from tvmq.errors import TvmqError
from tvmq.runtime.arrays import as_array, as_writable


class Exporter:
    """An array that has only these attributes of NumPy's."""

    def __init__(self, array, *names):
        for name in names:
            value = getattr(array, name)
            if callable(value):  # Python looks for methods at the class
                setattr(type(self), name, lambda self, *args, value=value, **kwargs: value(*args, **kwargs))
            else:
                setattr(self, name, value)


class DLPackOnly(Exporter):
    pass


class ArrayMethodOnly(Exporter):
    pass


@pytest.mark.parametrize(
    "export",
    [
        pytest.param(lambda array: array, id="ndarray"),
        pytest.param(lambda array: Exporter(array, "__array_interface__"), id="array interface"),
        pytest.param(lambda array: ArrayMethodOnly(array, "__array__"), id="__array__"),
        pytest.param(lambda array: DLPackOnly(array, "__dlpack__", "__dlpack_device__"), id="DLPack"),
        pytest.param(tvm_ffi.from_dlpack, id="TVM's tensor"),
        pytest.param(memoryview, id="buffer"),
    ],
)
def test_memory_is_not_copied(export):
    array = np.arange(6, dtype="float32").reshape(2, 3)
    view = as_array(export(array), "x")
    assert view.ctypes.data == array.ctypes.data
    assert view.flags.writeable
    np.testing.assert_array_equal(view, array)


def test_numbers_and_lists_become_arrays():
    assert as_array([[1, 2]], "x").shape == (1, 2)
    assert as_array(1.5, "x").shape == ()


class OnAnotherDevice:
    def __dlpack__(self, **_):
        raise BufferError("memory of a GPU\nand more")

    def __dlpack_device__(self):
        return (2, 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1], [1, 2]], "input 'x' is not an array: setting an array element"),
        (OnAnotherDevice(), "input 'x' is not an array: "),
    ],
)
def test_what_is_no_array_is_named(value, message):
    with pytest.raises(TvmqError) as caught:
        as_array(value, "input 'x'")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_read_only_memory_is_read_where_it_lies():
    array = np.frombuffer(bytes(range(64)), np.uint8)
    view = as_writable(array)
    assert view.flags.writeable
    assert not array.flags.writeable
    assert view.ctypes.data == array.ctypes.data
    del array
    np.testing.assert_array_equal(view, range(64))
