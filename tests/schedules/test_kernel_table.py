"""Each kernel is told the nodes that it computes, those of operators that become several calls too."""

from __future__ import annotations

import tvm
from tvm import relax

from tvmq.schedules.pipeline import to_kernels
from tvmq.targets.rows import PORTABLE as ROW

from ..passes.modules import module


def test_calls_on_the_way_to_a_result_are_its_own():
    """Joining and cutting images takes reshapes, whose variables are new."""

    def body(b, x):
        kept = b.add(relax.op.nn.softmax(x), "softmax")
        upper = b.add(relax.op.strided_slice(kept, [1], [0], [3]), "upper")
        lower = b.add(relax.op.strided_slice(kept, [1], [3], [8]), "lower")
        turned = b.add(relax.op.concat([lower, upper], 1), "roll")
        return b.add(relax.op.cumsum(turned, 2), "sum")

    mod = module({"x": (1, 8, 4, 6)}, body)
    _, kernels = to_kernels(mod, tvm.target.Target({"kind": "llvm"}), ROW)
    by_kernel = dict(kernels)
    assert by_kernel["softmax"] == ["softmax"] and by_kernel["scan"] == ["sum"]
    assert by_kernel["concat"] == ["roll"]
    slices = [nodes for kernel, nodes in kernels if "strided_slice" in kernel]
    assert slices == [["upper", "roll"], ["lower", "roll"]]
