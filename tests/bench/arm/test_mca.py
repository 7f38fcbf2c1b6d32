"""Pipelines: cycles that the cores' manuals give, and what is mended in LLVM's models."""

from __future__ import annotations

import shutil

import pytest

from tvmq.bench.arm import mca
from tvmq.bench.arm.mca import ASSEMBLER, COMPILER, CONFIG, Pipeline, listing
from tvmq.errors import TvmqError

ADD = "a5200091"  # add x5, x5, #8
LOAD = "a00040fd"  # ldr d0, [x5]
OTHER_LOAD = "aa0040fd"  # ldr d10, [x5]
LOAD_NEXT = "a08440fc"  # ldr d0, [x5], #8
LOAD_QUAD = "a000c03d"  # ldr q0, [x5]
FMLA = "c0cf3f4e"  # fmla v0.4s, v30.4s, v31.4s
FMLA_1, FMLA_2, FMLA_3 = "c1cf3f4e", "c2cf3f4e", "c3cf3f4e"

needs_llvm = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in (COMPILER, CONFIG, ASSEMBLER)),
    reason="LLVM is missing: scripts/install-debian-packages.sh yardstick",
)


@needs_llvm
@pytest.mark.parametrize(
    ("cpu", "code", "cycles"),
    [
        ("cortex-a53", ADD, 1),
        ("cortex-a53", ADD * 3, 3),  # each waits for the last one
        ("cortex-a53", LOAD, 1),
        ("cortex-a53", LOAD_NEXT, 1),  # the address is not late
        ("cortex-a72", LOAD_NEXT, 1),
        ("cortex-a55", LOAD_QUAD, 2),  # 64 bits a cycle
        ("neoverse-n1", LOAD_QUAD * 2, 1),
        ("cortex-a55", FMLA + FMLA_1 + FMLA_2 + FMLA_3, 4),  # one of 128 bits a cycle
        ("cortex-a55", FMLA, 4),
        ("cortex-a55", FMLA + OTHER_LOAD, 4),  # the load hides behind it
    ],
)
def test_cycles(cpu, code, cycles):
    assert Pipeline(cpu).cycles([bytes.fromhex(code)]) == [pytest.approx(cycles, abs=0.05)]


@needs_llvm
def test_results_overtake_each_other():
    """In order, llvm-mca itself has each load wait for the multiplication before it: 7 cycles a pair."""
    pairs = "".join(each + OTHER_LOAD for each in (FMLA, FMLA_1, FMLA_2, FMLA_3))
    assert Pipeline("cortex-a53").cycles([bytes.fromhex(pairs)]) == [pytest.approx(10, abs=0.1)]


@needs_llvm
def test_what_was_simulated_is_kept(monkeypatch, tmp_path):
    code = [bytes.fromhex(ADD * 2), bytes.fromhex(ADD)]
    found = Pipeline("cortex-a53").cycles(code)
    monkeypatch.setattr(mca, "_run", lambda *_: pytest.fail("simulated again"))
    assert Pipeline("cortex-a53").cycles(code[::-1]) == found[::-1]


@needs_llvm
def test_listing():
    assert listing(bytes.fromhex(LOAD_NEXT + FMLA + "ffffffff")) == [
        "ldr d0, [x5], #8",
        "fmla v0.4s, v30.4s, v31.4s",
        ".inst 0xffffffff",
    ]


def test_missing_tools(monkeypatch):
    monkeypatch.setattr(mca.shutil, "which", lambda tool: None if tool == CONFIG else tool)
    with pytest.raises(
        TvmqError, match="llvm-config-19 is not installed: it is in Debian's package llvm-19-dev"
    ):
        mca.check_tools()
