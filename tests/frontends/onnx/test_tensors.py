"""Tensors and inputs of a file, and those that are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.tensors import NARROW, array_of, input_dtype

from ..graphs import value


@pytest.mark.parametrize("name", sorted(NARROW))
def test_narrow_integers_keep_their_values(name):
    values = np.arange(NARROW[name][0], NARROW[name][1] + 1)
    tensor = helper.make_tensor("t", getattr(TensorProto, name.upper()), values.shape, values.tolist())
    array = array_of(tensor)
    assert array.dtype == ("uint8" if name.startswith("u") else "int8")
    np.testing.assert_array_equal(array, values)


def _broken(**fields) -> TensorProto:
    return TensorProto(
        **{"name": "t", "data_type": TensorProto.FLOAT, "dims": [2], "raw_data": b"\0" * 8, **fields}
    )


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_broken(raw_data=b"\0" * 7), "tensor 't' of the model cannot be read: .*\\(shape \\[2\\]\\)"),
        (_broken(dims=[3]), "tensor 't' of the model cannot be read: .*\\(shape \\[3\\]\\)"),
        (
            _broken(dims=[-2]),
            "tensor 't' of the model cannot be read: an extent is negative \\(shape \\[-2\\]\\)",
        ),
        (_broken(data_type=99), "tensor 't' of the model cannot be read: "),
        (
            helper.make_tensor("t", TensorProto.STRING, [1], [b"a"]),
            "holds .* values, and numbers were expected",
        ),
    ],
)
def test_tensors_that_cannot_be_read(tensor, message):
    with pytest.raises(TvmqError, match=message) as caught:
        array_of(tensor)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.BOOL]
)
def test_inputs(kind):
    assert input_dtype(value("x", (1,), kind)) == onnx.helper.tensor_dtype_to_np_dtype(kind).name


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.INT4, "int8"), (TensorProto.UINT4, "uint8")])
def test_inputs_of_fewer_bits_are_fed_in_8(kind, dtype):
    assert input_dtype(value("x", (1,), kind)) == dtype


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (0, "input 'x' has no known dtype (ONNX data type 0): give it, such as --input-dtypes \"x:float32\""),
        (99, "input 'x' has no known dtype (ONNX data type 99)"),
        (TensorProto.STRING, "input 'x' holds object values; float, integer and bool ones can be fed"),
        (
            TensorProto.FLOAT8E5M2,
            "input 'x' holds float8_e5m2 values; float, integer and bool ones can be fed",
        ),
    ],
)
def test_inputs_that_cannot_be_fed(kind, message):
    with pytest.raises(TvmqError) as caught:
        input_dtype(value("x", (1,), kind))
    assert str(caught.value) == message
