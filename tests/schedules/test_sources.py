"""Code as text: of the kernels that were compiled, and of no others."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

import tvmq
from tvmq.errors import TvmqError

TARGET = "llvm -mcpu=native"


@pytest.fixture(scope="module")
def module():
    """``tanh(x) + (1 + 2)``: a constant to fold, and one kernel."""
    x = relax.Var("x", relax.TensorType((4, 8), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            one = relax.const(np.ones((4, 8), np.float32))
            three = builder.emit(relax.op.add(one, relax.op.add(one, one)))
            result = builder.emit_output(relax.op.add(relax.op.tanh(x), three))
        builder.emit_func_output(result)
    return builder.get()


def test_every_format(module):
    options = tvmq.CompileOptions(dump_code=("relax", "tir", "ll", "asm"))
    sources = tvmq.compile(module, TARGET, options=options).sources
    assert list(sources) == ["relax", "tir", "ll", "asm"]
    assert "R.tanh(" in sources["relax"]
    assert isinstance(tvm.script.from_source(sources["tir"]), tvm.IRModule)
    assert "fused_tanh" in sources["tir"] and "T.sblock" not in sources["tir"]
    assert "define" in sources["ll"] and "fused_tanh" in sources["ll"]
    assert "fused_tanh" in sources["asm"] and ".text" in sources["asm"]


def test_none_unless_asked(module):
    assert tvmq.compile(module, TARGET).sources == {}


def test_unknown_formats():
    with pytest.raises(TvmqError, match="unknown format of code .dump_code. 'asn'; did you mean 'asm'"):
        tvmq.CompileOptions(dump_code=("asn",))
