"""Packing of weights that vary."""

from __future__ import annotations

from functools import partial

import pytest
from tvm import te
from tvm.tirx import ForKind

from tvmq.passes.realize.compute import packing
from tvmq.schedules.cpu.packing import schedule_packing
from tvmq.schedules.schedule import Schedule
from tvmq.targets.rows import PORTABLE


@pytest.mark.parametrize(
    ("define", "shape", "order"),
    [
        (partial(packing.pack_conv2d, groups=2), (64, 40, 3, 3), [8, 40, 3, 3, 1, 8]),
        (packing.pack_pointwise, (60, 300, 1, 1), [8, 300, 1, 8]),
        (packing.pack_matmul, (300, 60), [8, 300, 1, 8]),
    ],
    ids=["conv2d", "pointwise", "matmul"],
)
def test_lanes_are_written_out_within_a_step(define, shape, order):
    source = te.placeholder(shape, "float32", name="source")
    doubled = te.compute(shape, lambda *index: source(*index) * 2, name="doubled")
    sch = Schedule(te.create_prim_func([source, define(doubled, lanes=8, depth=1)]))
    assert schedule_packing(sch, PORTABLE, 2) == ""
    loops = [sch.get(loop) for loop in sch.get_loops(sch.get_sblock("packed"))]
    assert [int(loop.extent) for loop in loops] == order
    kinds = [int(loop.kind) for loop in loops]
    assert (kinds[0], kinds[-1]) == (ForKind.PARALLEL, ForKind.UNROLLED)


def test_what_packs_nothing_is_left_alone():
    source = te.placeholder((8, 8), "float32", name="source")
    func = te.create_prim_func([source, te.compute((8, 8), lambda i, j: source(j, i), name="turned")])
    assert schedule_packing(Schedule(func), PORTABLE, 2) == "does not only pack weights"
