"""Equal weights become one constant; others stay apart."""

from __future__ import annotations

from tvm import relax

from tvmq.passes.hub.graph import is_constant
from tvmq.passes.prepare.share_weights import ShareWeights

from ..modules import assert_close, calls, const, module


def test_equal_weights_are_shared_and_others_are_not():
    def body(b, x):
        first = b.add(relax.op.matmul(x, const(4, 4)))
        second = b.add(relax.op.matmul(first, const(4, 4)))
        third = b.add(relax.op.matmul(second, const(4, 4, seed=2)))
        return b.add(relax.op.add(third, const(4, 4)))

    before = module({"x": (4, 4)}, body)
    after = ShareWeights()(before)
    first, second, third = (call.args[1] for call in calls(after, "matmul"))
    assert second.same_as(first)
    assert not third.same_as(first)
    assert_close(before, after, products=12)


def test_equal_bytes_in_another_shape_are_other_weights():
    def body(b, x):
        first = b.add(relax.op.matmul(x, const(4, 6)))
        return b.add(relax.op.matmul(first, const(6, 4)))

    narrow, wide = (call.args[1] for call in calls(ShareWeights()(module({"x": (2, 4)}, body)), "matmul"))
    assert not narrow.same_as(wide)


def test_computed_weights_are_left_alone():
    mod = module({"x": (4, 4)}, lambda b, x: b.add(relax.op.matmul(x, x)))
    (call,) = calls(ShareWeights()(mod), "matmul")
    assert not is_constant(call.args[1])
