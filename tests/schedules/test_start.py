"""Accumulators start from their offset where a definition marks it, and nothing else changes."""

from __future__ import annotations

import tvm
from tvm import te, tirx
from tvm.ir.expr import TensorLoad
from tvm.s_tir import Schedule

from tvmq.passes.realize.compute.annotations import KERNEL, START
from tvmq.schedules.start import StartFromOffset, start_from_offset


def _function(marked: bool = True) -> tirx.PrimFunc:
    data = te.placeholder((3, 5), "int32", name="data")
    weight = te.placeholder((5, 2, 4), "int32", name="weight")
    offset = te.placeholder((8,), "int32", name="offset")
    k = te.reduce_axis((0, 5), "k")
    accumulator = te.compute(
        (3, 2, 4),
        lambda n, b, i: te.sum(data[n, k] * weight[k, b, i], axis=[k]),
        name="accumulator",
        attrs={KERNEL: "contraction"},
    )
    started = te.compute(
        accumulator.shape,
        lambda n, b, i: accumulator[n, b, i] + offset[b * 4 + i],
        name="started",
        attrs={START: 1} if marked else {},
    )
    result = te.compute((3, 8), lambda n, c: started[n, c // 4, c % 4] * 2, name="result")
    return te.create_prim_func([data, weight, offset, result]).with_attr("global_symbol", "main")


def _block(func: tirx.PrimFunc, name: str):
    sch = Schedule(func)
    return sch.get(sch.get_sblock(name))


def test_the_offset_is_the_start():
    func = start_from_offset(_function())
    accumulator, started = _block(func, "accumulator"), _block(func, "started")
    assert isinstance(accumulator.init.value, TensorLoad)
    assert accumulator.init.value.source.name == "offset"
    block, lane = accumulator.init.indices[1:]
    tvm.ir.assert_structural_equal(accumulator.init.value.indices[0], block * 4 + lane)
    assert isinstance(started.body.value, TensorLoad)
    assert started.body.value.source.same_as(accumulator.init.buffer)


def test_without_the_mark_nothing_changes():
    func = _function(marked=False)
    assert start_from_offset(func).same_as(func)


def test_a_function_without_accumulator_is_left_alone():
    a = te.placeholder((4,), "int32")
    func = te.create_prim_func([a, te.compute((4,), lambda i: a[i] + 1)])
    assert start_from_offset(func).same_as(func)


def test_all_functions_of_a_module():
    mod = StartFromOffset()(tvm.IRModule({"f": _function(), "g": _function(marked=False)}))
    assert isinstance(
        _block(mod["f"].with_attr("global_symbol", "main"), "accumulator").init.value, TensorLoad
    )
    assert isinstance(
        _block(mod["g"].with_attr("global_symbol", "main"), "accumulator").init.value, tirx.IntImm
    )
