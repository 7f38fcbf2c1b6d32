"""The plugin counts what is known to run, and one run is the difference of two processes."""

from __future__ import annotations

import pytest

from tvmq.bench.arm import emulator
from tvmq.bench.arm.cores import CORES
from tvmq.bench.arm.emulator import Program, count, count_process, root_folder
from tvmq.bench.arm.modelled import function_name, functions_of
from tvmq.errors import TvmqError

from .conftest import ROUNDS

CORE = CORES["a53"]


def test_a_process(program):
    counts = count_process([str(program), "x"], CORE, {})
    (body,) = [place for place in counts if function_name(place) == "loop" and place.instructions == 4]
    assert counts[body].executions == ROUNDS
    assert (counts[body].read, counts[body].written) == (8 * ROUNDS, 8 * ROUNDS)
    assert counts[body].memory in (0, 64)  # one line, if nobody had it before


def test_without_memory(program):
    counts = count_process([str(program), "x"], CORE, {}, with_memory=False)
    assert sum(each.executions for each in counts.values()) > ROUNDS
    assert not any(each.read or each.written or each.memory for each in counts.values())


def test_one_run(program):
    counts = count(Program(lambda runs: [str(program), "x" * runs]), CORE, runs=(1, 3))
    first, *_ = functions_of(counts, CORE, with_cycles=False)
    assert (first.name, first.file, first.cycles) == ("loop", program.name, None)
    assert 4 * ROUNDS < first.instructions < 4 * ROUNDS + 16
    assert 8 * ROUNDS <= first.read < 8 * ROUNDS + 64
    assert sum(each.executions for each in counts.values()) < ROUNDS + 32  # start-up is gone


def test_cpuinfo_is_that_of_the_core():
    content = (root_folder(CORES["a55"]) / "proc" / "cpuinfo").read_text()
    assert "CPU part\t: 0xd05\n" in content
    assert "CPU variant\t: 0x2\n" in content


def test_a_program_that_fails(program):
    with pytest.raises(TvmqError, match="no-such-file on cortex-a53 under qemu-aarch64 failed"):
        count_process([str(program.parent / "no-such-file")], CORE, {})


def test_missing_tools(monkeypatch):
    monkeypatch.setattr(emulator.shutil, "which", lambda tool: None)
    with pytest.raises(TvmqError, match="qemu-aarch64 is not installed: it is in Debian's package qemu-user"):
        emulator.check_tools()
