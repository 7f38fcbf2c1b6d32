"""Why a node cannot be imported: shapes and dtypes with their numbers, nothing of TVM's or Python's insides."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ..graphs import model, node, value

W = np.zeros((4, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("AffineGrid", ["x"], ["y"], name="n"),
            "No Op registered for AffineGrid with domain_version of 17; its inputs are 'x' float32[1,4,8,8]",
        ),
        (
            node("Add", ["x", "w"], ["y"], name="n"),
            "In add, the first input shape at dim 3 is 8 and the second input shape at dim 3 is 3, which are not "
            "broadcastable.; its inputs are 'x' float32[1,4,8,8], 'w' float32[4,3,3,3]",
        ),
        (
            node("Conv", ["x", "w"], ["y"], name="n"),
            "The channel size of the data should equal to the product of input channel size of the weight and the "
            "number of groups. However, the data channel size is 4 while the weight input channel size and number of "
            "groups are 3 and 1; its inputs are 'x' float32[1,4,8,8], 'w' float32[4,3,3,3]",
        ),
        (
            node("Greater", ["x"], ["y"], name="n"),
            "its input 'B' is missing; its inputs are 'x' float32[1,4,8,8]",
        ),
        (
            node("ReverseSequence", ["x"], ["y"], name="n"),
            "its input 'sequence_lens' is missing; its inputs are 'x' float32[1,4,8,8]",
        ),
        (
            node("Concat", ["x", ""], ["y"], name="n", axis=0),
            "its input 'inputs' is missing; its inputs are 'x' float32[1,4,8,8]",
        ),
        (
            node("SequenceLength", ["x"], ["y"], name="n"),
            "its input 'input_sequence' must be a sequence and is a tensor; its inputs are 'x' float32[1,4,8,8]",
        ),
        (
            node("Concat", ["x", "x"], ["y"], name="n", axis=9),
            "axis must be in [-rank, rank-1]; its inputs are 'x' float32[1,4,8,8], 'x' float32[1,4,8,8]",
        ),
        (
            node("Split", ["x"], ["y", "z", "u"], name="n", axis=1, num_outputs=2),
            "num_outputs is 2, and it has 3; its inputs are 'x' float32[1,4,8,8]",
        ),
        (
            node("Softmax", ["x"], ["y"], name="n", axis=2**31),
            "it has no axis 2147483648; its inputs are 'x' float32[1,4,8,8]",
        ),
    ],
)
def test_reasons(made, message):
    with pytest.raises(TvmqError) as caught:
        load_onnx(model([made], [value("x", (1, 4, 8, 8))], ["y"], {"w": W}))
    assert str(caught.value) == f"ONNX node 'n' ({made.op_type}) cannot be imported: {message}"
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (node("Add", ["x", "b"], ["y"], broadcast=1, axis=1), "which are not broadcastable"),
        (node("Transpose", ["x"], ["y"], perm="text"), "Mismatched attribute type"),
        (node("Clip", ["x", "text"], ["y"]), "tensor 'text' of the model holds"),
    ],
)
def test_one_line_always(made, message):
    text = TensorProto(name="text", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])
    proto = model(
        [made], [value("x", (1, 4, 8, 8))], ["y"], {"b": np.zeros(4, np.float32), "text": text}, opset=6
    )
    with pytest.raises(TvmqError, match=message) as caught:
        load_onnx(proto)
    assert "\n" not in str(caught.value) and "ir.Op" not in str(caught.value)


def test_an_operator_set_that_is_none():
    proto = model([node("Relu", ["x"], ["y"])], [value("x", (1,))], ["y"])
    proto.opset_import[0].version = 2**40
    with pytest.raises(
        TvmqError, match=r"the model asks for version 1099511627776 of ONNX's operators; 1 to \d+ are"
    ):
        load_onnx(proto)
