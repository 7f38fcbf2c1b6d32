"""Weights and biases that methods change, put back into the module."""

from __future__ import annotations

from tvm import relax

from tvmq.passes.improve.chains import Weights

from ..modules import calls, const, module

SHAPE = (1, 4, 5, 5)


def test_a_weight_that_two_layers_read_stays_one():
    shared = const(4, 4, 1, 1)

    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, const(4, 4, 1, 1, seed=2)), "first")
        second = b.add(relax.op.nn.conv2d(first, shared), "second")
        return b.add(relax.op.nn.conv2d(second, shared), "third")

    mod = module({"x": SHAPE}, body)
    weights = Weights.of(mod)
    (changed,) = (var for var, call in weights.calls.items() if not call.args[1].same_as(shared))
    weights.values[changed] = 2.0 * weights.values[changed]
    before, after = calls(mod, "nn.conv2d"), calls(weights.put_into(mod), "nn.conv2d")
    assert not after[0].args[1].same_as(before[0].args[1])
    assert after[1].args[1].same_as(after[2].args[1])
