"""Look-ups in a table of bytes, by each instruction that this CPU has, at sizes around a vector.

ARM's are in the networks of ``tests/test_same_bits.py``.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tvmq.passes.realize.compute import elementwise
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.rules import schedule
from tvmq.targets import host
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target
from tvmq.targets.rows import ROWS

LOOK_UPS = [(row, each) for row in ROWS if row.arch == "x86_64" for each in row.look_ups]
CPUS = {
    "look_up_64_avx512vbmi": "icelake-server",
    "look_up_64_avx512": "cascadelake",
    "look_up_32_avx2": "haswell",
}


def look_up(shape, dtype="uint8"):
    data, table = (
        te.placeholder([tirx.IntImm("int64", extent) for extent in extents], kind, name)
        for extents, kind, name in ((shape, dtype, "data"), ((256,), "uint8", "table"))
    )
    return te.create_prim_func([data, table, elementwise.look_up(data, table)])


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("shape", [(64,), (3, 5, 7), (1, 32), (2, 65), (130,), (1, 9, 9, 24)], ids=str)
@pytest.mark.parametrize(("row", "own"), LOOK_UPS, ids=lambda item: getattr(item, "name", ""))
def test_every_byte_finds_its_entry(row, own, shape, dtype):
    if host.missing_features("x86_64", [*row.features, *own.features]):
        pytest.skip("this CPU has no such instruction")
    rng = np.random.default_rng(0)
    data, table = (rng.permutation(np.arange(size) % 256).astype(np.uint8) for size in (np.prod(shape), 256))
    data = data.reshape(shape)
    given = data if dtype == "uint8" else (data ^ 128).view(np.int8)
    made = schedule(look_up(shape, dtype), dataclasses.replace(row, look_ups=(own,)), 1, "main")
    library = compile_kernel(made, tvm.target.Target({"kind": "llvm", "mcpu": CPUS[own.name]}))
    out = tvm.runtime.tensor(np.zeros(shape, np.uint8))
    library["main"](tvm.runtime.tensor(given), tvm.runtime.tensor(table), out)
    np.testing.assert_array_equal(out.numpy(), table[data])


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("znver4", "look_up_64_avx512vbmi"),
        ("cascadelake", "look_up_64_avx512"),
        ("znver3", "look_up_32_avx2"),
    ],
)
def test_a_target_has_what_its_cpu_has(cpu, expected):
    assert row_of(parse_target(f"llvm -mcpu={cpu}")).look_ups[0].name == expected


def test_what_does_more_than_look_up_has_a_schedule():
    row = next(row for row in ROWS if row.look_ups)
    data = te.placeholder((128,), "uint8", "data")
    table = te.placeholder((256,), "uint8", "table")
    found = elementwise.look_up(data, table)
    more = te.compute(data.shape, lambda i: found[i] + tirx.const(1, "uint8"), name="more")
    assert "more" in schedule(te.create_prim_func([data, table, more]), row, 1, "main").script()
