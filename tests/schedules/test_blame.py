"""The node that a compiler fails on is found among others that it does not."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import op_name, with_layer_name
from tvmq.schedules import blame


@pytest.fixture
def module():
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            a = builder.emit(with_layer_name(relax.op.add(x, relax.const(np.float32(1))), "first"))
            b = builder.emit(with_layer_name(relax.op.concat([a, x]), "second"))
            result = builder.emit_output(with_layer_name(relax.op.negative(b), "third"))
        builder.emit_func_output(result)
    return builder.get()


def failing_on(*names):
    def build(mod):
        (binding,) = [b for block in mod["main"].body.blocks for b in block.bindings if op_name(b.value)]
        if op_name(binding.value) in names:
            raise ValueError("no")

    return build


@pytest.mark.parametrize(
    ("operators", "layer"),
    [(("relax.concat", "relax.negative"), "second"), (("relax.negative",), "third"), ((), "")],
)
def test_the_first_that_fails(module, operators, layer):
    assert blame.failing_layer(module, failing_on(*operators)) == layer


def test_a_search_that_takes_too_long(module, monkeypatch):
    monkeypatch.setattr(blame, "SECONDS", -1)
    assert blame.failing_layer(module, failing_on("relax.negative")) == ""
