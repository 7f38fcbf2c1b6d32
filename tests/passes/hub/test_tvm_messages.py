"""What TVM throws, without its insides."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.hub.tvm_messages import LONGEST, plain

OPERATOR = (
    'ir.Op(span=None, ty=ir.Type(span=None), name="relax.nn.conv2d", description="", '
    'arguments=(ir.ArgumentInfo(name="x1", type_info="Tensor", description="The (first) input."),), num_inputs=2)'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"In {OPERATOR}, the shape at dim 1 is T.int64(4)", "In conv2d, the shape at dim 1 is 4"),
        ("Check failed: (a == b) is false: sizes differ", "sizes differ"),
        ("InternalError: Check failed: arr_size == nbytes (128 vs. 256) : size mismatch", "size mismatch"),
        ("Check failed: (x.size() == 4) is false: ", "x.size() == 4 does not hold"),
        ("Check failed: val >= 0 (-3 vs. 0) : ", "val >= 0 (-3 vs. 0) does not hold"),
        ("[00:11:49] /project/src/relax/ir/a.cc:67: Warning: blocks remain", "Warning: blocks remain"),
        ('it is R.Tensor((1, 3), dtype="float32")', "it is float32[1,3]"),
        ("to R.shape([1, 2])", "to [1, 2]"),
        ("\n  first line\nsecond line", "first line"),
        ("", "ValueError"),
        ("x" * (LONGEST + 1), "x" * (LONGEST - 3) + "..."),
    ],
)
def test_texts(text, expected):
    assert plain(ValueError(text)) == expected


def test_a_missing_key():
    assert plain(KeyError("axis")) == "'axis' is missing"


def test_what_tvm_really_throws():
    x = relax.Var("x", relax.TensorType((1, 4, 8, 8), "float32"))
    with pytest.raises(ValueError, match="not broadcastable") as caught:
        relax.BlockBuilder().normalize(relax.op.divide(x, relax.const([1.0, 2.0, 3.0], "float32")))
    assert "ir.Op(" in str(caught.value)
    assert plain(caught.value).startswith(
        "In divide, the first input shape at dim 3 is 8 and the second input shape"
    )
