from __future__ import annotations

import pytest
import tvm
from tvm import relax

import tvmq
from tvmq.errors import TvmqError


def _module(before: str, behind: str) -> tvm.IRModule:
    x = relax.Var("x", relax.TensorType((2, 4), before))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            inside = builder.emit(relax.op.astype(x, "bfloat16"))
            output = builder.emit_output(relax.op.astype(builder.emit(relax.op.nn.relu(inside)), behind))
        builder.emit_func_output(output)
    return builder.get()


@pytest.mark.parametrize(
    ("before", "behind", "message"),
    [
        ("bfloat16", "float32", "input 'x' is bfloat16, which NumPy has no arrays of; put a Cast to float32"),
        ("float32", "bfloat16", "output 0 is bfloat16"),
    ],
)
def test_bfloat16_at_an_edge(before, behind, message):
    with pytest.raises(TvmqError, match=message):
        tvmq.compile(_module(before, behind))


def test_bfloat16_inside():
    assert tvmq.compile(_module("float32", "float32")).metadata["outputs"][0]["dtype"] == "float32"
