"""What is shown to watchers: float values, whatever pairs stand in the module."""

from __future__ import annotations

import numpy as np
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.watch import compile_for_host, watch, watched
from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.schemes import get_scheme

from ..modules import const, module, operators, random


class Keep:
    def __init__(self):
        self.seen = []

    def update(self, array):
        self.seen.append(np.array(array))


def _annotated():
    def body(b, x):
        first = b.add(relax.op.nn.relu(b.add(relax.op.matmul(x, const(4, 4)), "c1")), "relu")
        return b.add(relax.op.matmul(first, const(4, 2)), "c2")

    return Annotate(get_scheme("int8"))(module({"x": (3, 4)}, body))


def test_values_are_those_of_the_float_model_and_several_may_watch_one():
    mod = _annotated()
    relu = next(b.var for b in bindings_of(mod) if op_name(b.value) == "relax.nn.relu")
    first, second, inputs = Keep(), Keep(), Keep()
    samples = [{"x": random(3, 4, seed=seed)} for seed in range(2)]
    watch(
        mod, {relu: [first, second], mod["main"].params[0]: [inputs]}, iter(samples), compile_for_host, None
    )
    for sample, seen, again, given in zip(samples, first.seen, second.seen, inputs.seen, strict=True):
        np.testing.assert_array_equal(given, sample["x"])
        np.testing.assert_array_equal(seen, again)
        # Four products, perhaps added in another order.
        expected = np.maximum(sample["x"].astype(np.float64) @ random(4, 4, seed=1), 0)
        np.testing.assert_allclose(seen, expected, atol=4 * 2.0**-24 * 20)


def test_only_what_is_watched_is_computed():
    mod = _annotated()
    relu = next(b.var for b in bindings_of(mod) if op_name(b.value) == "relax.nn.relu")
    assert operators(watched(mod, [relu])) == ["matmul", "relu"]
