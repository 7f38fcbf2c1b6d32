"""Rounding by an addition is rounding half to even, up to where it does not matter."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tvmq.schedules.code import compile_kernel
from tvmq.schedules.rounding import round_by_adding

LIMIT = 2**22


@pytest.fixture(scope="module")
def round_all():
    """Function that rounds the products of float32 numbers and a half."""
    x = te.placeholder((te.var("n"),), "float32", name="x")
    half = tirx.const(0.5, "float32")
    y = te.compute(
        x.shape, lambda i: tirx.call_llvm_pure_intrin("int32", "llvm.lrint", x[i] * half), name="y"
    )
    mod = round_by_adding(tvm.IRModule({"main": te.create_prim_func([x, y])}))
    assert "lrint" not in mod.script()
    target = tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"})
    library = compile_kernel(mod["main"], target)

    def run(products):
        given = tvm.runtime.tensor(2 * products)
        rounded = tvm.runtime.tensor(np.zeros(products.shape, np.int32))
        library["main"](given, rounded)
        return rounded.numpy()

    return run


def test_it_is_exact(round_all):
    halves = np.arange(-999.5, 1000, 0.5, dtype=np.float32)
    ends = np.arange(LIMIT - 99, LIMIT + 0.5, 0.5, dtype=np.float32)
    tiny = np.array([-0.0, 1e-40, -1e-40, 0.49999997, -0.49999997], np.float32)
    numbers = np.concatenate([halves, ends, -ends, tiny])
    np.testing.assert_array_equal(round_all(numbers), np.rint(numbers).astype(np.int32))


def test_what_is_beyond_stays_beyond(round_all):
    numbers = np.array([LIMIT + 1, 2.0**23, 2.0**23 + 2, 1e9, 1e38], np.float32)
    assert (round_all(numbers) >= LIMIT).all()
    assert (round_all(-numbers) <= -LIMIT).all()
