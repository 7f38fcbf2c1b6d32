"""Blocks whose rows and columns take turns: see also the gradients of ``tests/passes/train/kernels``."""

from __future__ import annotations

from tvm import te
from tvm.tirx import ForKind, if_then_else

from tvmq.passes.realize.compute.annotations import PHASES
from tvmq.schedules.blocks import root_blocks
from tvmq.schedules.cpu.phases import schedule_phases
from tvmq.schedules.schedule import Schedule
from tvmq.targets.rows import PORTABLE


def turns(marks):
    data = te.placeholder((1, 4, 4, 16), name="data")
    result = te.compute(
        (1, 8, 8, 16),
        lambda n, h, w, c: if_then_else(h % 2 == 0, data[n, h // 2, w // 2, c], 0.0),
        name="result",
        attrs=marks,
    )
    doubled = te.compute(result.shape, lambda *index: result(*index) * 2, name="doubled")
    return te.create_prim_func([data, doubled])


def test_remainders_are_decided_ahead():
    sch = Schedule(turns({PHASES: [2, 2]}))
    assert schedule_phases(sch, PORTABLE, 1) == ""
    kinds = [int(sch.get(loop).kind) for loop in sch.get_loops(sch.get_sblock("doubled"))]
    assert kinds.count(ForKind.UNROLLED) == 2 and kinds[-1] == ForKind.VECTORIZED
    assert len(root_blocks(sch)) == 1


def test_other_blocks_are_left_alone():
    assert schedule_phases(Schedule(turns({})), PORTABLE, 1) == "has no rows and columns that take turns"
