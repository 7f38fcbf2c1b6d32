"""Kernels as C functions: pointers for buffers, and for what the runtime would have allocated; one thread."""

from __future__ import annotations

import tvm
from tvm import tirx
from tvm.script import tirx as T

from tvmq.schedules.c_library.functions import SCRATCH, lower_to_c

TARGET = tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"})


@T.prim_func(s_tir=True)
def kernel(x: T.Buffer((512,), "float32"), y: T.Buffer((512,), "float32")):
    large = T.alloc_buffer((512,), "float32")
    small = T.alloc_buffer((8,), "float32")
    for i in T.parallel(512):
        with T.sblock("large"):
            at = T.axis.spatial(512, i)
            large[at] = x[at] * T.float32(2)
    for i in range(8):
        with T.sblock("small"):
            at = T.axis.spatial(8, i)
            small[at] = large[at * 8]
    for i in range(512):
        with T.sblock("y"):
            at = T.axis.spatial(512, i)
            y[at] = large[511 - at] + small[at % 8]


def lowered() -> tirx.PrimFunc:
    mod = tirx.transform.BindTarget(TARGET.with_host(TARGET))(tvm.IRModule({"kernel": kernel}))
    return lower_to_c(mod)["kernel"]


def test_buffers_become_pointers():
    func = lowered()
    assert [param.name for param in func.params] == ["x", "y", "large"]
    assert all(isinstance(param.ty, tvm.ir.PointerType) for param in func.params)


def test_llvm_is_told_how_pointers_are_aligned():
    """32-bit ARM loads vectors of bytes one register at a time where it does not know."""
    assert lowered().script().count('"storage_alignment", 16') == 3


def test_large_buffers_are_the_callers():
    assert list(lowered().attrs[SCRATCH]) == [2048]


def test_it_is_of_one_thread_and_calls_nothing():
    text = lowered().script()
    assert "parallel" not in text
    assert "TVMBackend" not in text and "call_packed" not in text
