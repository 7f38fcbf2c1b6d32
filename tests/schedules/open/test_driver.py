"""Parts of fixed size make up what a kernel of any size computes, within larger tensors too."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te, tirx, topi

from tvmq.schedules.code import compile_kernel
from tvmq.schedules.open.axes import axes_of
from tvmq.schedules.open.driver import Part, driver
from tvmq.schedules.rules import schedule
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

TARGET = parse_target("llvm -mcpu=znver3 -num-cores=1")
S, N = (tirx.Var(name, "int64") for name in "SN")
BOUNDS = {var: tvm.ir.Range.from_min_extent(1, 100) for var in (S, N)}


def define(n, s):
    """x [n, s, 24], y [s, 24] -> transposed [n, 24, s] of the sum, squared: vectors along an open axis."""
    x, y = te.placeholder((n, s, 24), "float32", name="x"), te.placeholder((s, 24), "float32", name="y")
    total = topi.transpose(topi.add(x, y), (0, 2, 1))
    return te.create_prim_func([x, y, topi.multiply(total, total)], index_dtype_override="int64")


@pytest.mark.parametrize("sizes", [(16, 4, 1), (8, 1), (1,)])
def test_parts_make_up_the_whole(sizes):
    whole = define(N, S)
    axes = axes_of(whole, BOUNDS)
    assert [str(axis.extent) for axis in axes] == ["N", "S"]
    row = row_of(TARGET)
    parts = [Part(schedule(define(1, size), row, 1, "part"), (1, size)) for size in sizes]
    func = driver(whole, axes, parts)
    kernel = compile_kernel(
        tirx.PrimFunc([*func.params, N, S], func.body, func.ret_type, func.attrs), TARGET
    )["main"]
    random = np.random.default_rng(0)
    for n, s in ((1, 1), (2, 7), (3, 16), (1, 39), (2, 64)):
        x, y = random.random((n, s, 24), np.float32), random.random((s, 24), np.float32)
        out = tvm.runtime.tensor(np.full((n, 24, s), 77, np.float32))
        kernel(tvm.runtime.tensor(x), tvm.runtime.tensor(y), out, n, s)
        np.testing.assert_array_equal(out.numpy(), ((x + y) * (x + y)).transpose(0, 2, 1))
