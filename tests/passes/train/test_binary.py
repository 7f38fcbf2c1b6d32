"""Activations of two values: what they are while they learn, and what passes gradients of them."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, main_function
from tvmq.passes.hub.steps import stepped
from tvmq.passes.train.binary import BinaryStep, activation
from tvmq.passes.train.kernels.steps import Slopes, is_step
from tvmq.passes.train.network import compile_in_place
from tvmq.passes.train.steps import fold_steps

SIGN, BIT = (BinaryStep(0, None, 0.25, low, 1.5) for low in (-1.5, 0.0))
SIZE = 40


def _module(body):
    """Return the module of a function of a vector and two numbers."""
    params = [relax.Var("x", relax.TensorType((SIZE,), "float32"))]
    params += [relax.Var(name, relax.TensorType((), "float32")) for name in ("t", "h")]
    builder = relax.BlockBuilder()
    with main_function(builder, params):
        with builder.dataflow():
            result = builder.emit(body(builder, *params))
            output = builder.emit_output(relax.Tuple([result]))
        builder.emit_func_output(output)
    return builder.get()


def _signs(mod):
    calls = [binding.value for binding in bindings_of(mod) if is_step(binding.value)]
    return [str(mod[call.args[0]].attrs["sign"]) for call in calls]


@pytest.mark.parametrize("sign", ["straight", "bi-real"])
@pytest.mark.parametrize("step", [SIGN, BIT])
def test_a_step_of_two_values(step, sign):
    mod = fold_steps(
        _module(lambda builder, *given: activation(builder, step, *given)), slopes=Slopes(sign=sign)
    )
    assert _signs(mod) == [sign]
    x = (np.arange(SIZE, dtype=np.float32) - SIZE // 2 + 0.5) / 8  # the threshold is between two of them
    (found,) = compile_in_place(mod)([x, np.float32(step.threshold), np.float32(step.high)])
    assert np.array_equal(found, np.where(x >= step.threshold, step.high, step.low))


def test_other_steps_pass_gradients_as_they_are():
    def body(builder, x, scale, _):
        return stepped(builder, x, [scale, *(relax.const(np.float32(limit)) for limit in (0.0, 3.0))])

    assert _signs(fold_steps(_module(body), slopes=Slopes(sign="bi-real"))) == [""]
