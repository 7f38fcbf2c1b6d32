"""Functions of a run: their names, their cycles, their loops."""

from __future__ import annotations

import shutil

import pytest

from tvmq.bench.arm.blocks import Counts, Place
from tvmq.bench.arm.cores import CORES
from tvmq.bench.arm.mca import ASSEMBLER, CONFIG
from tvmq.bench.arm.modelled import COLD_IPC, cycles_of, function_name, functions_of, loops_of, whole
from tvmq.bench.arm.symbols import NAMELESS, Symbols

from .conftest import ROUNDS

ADD = bytes.fromhex("a5200091")  # add x5, x5, #8
LOOP_4 = bytes.fromhex("090040f9090000f9080500f1a1ffff54")
HOT, COLD = Place("", 0x100, 4 * ADD), Place("", 0x900, ADD)


class Fake:
    """A pipeline on which everything takes 7 cycles."""

    def cycles(self, sequences):
        self.asked = sequences
        return [7.0] * len(sequences)


def test_what_hardly_runs_is_not_simulated():
    pipeline = Fake()
    counts = {HOT: Counts(1e6, 0, 0, 0), COLD: Counts(10, 0, 0, 0)}
    assert cycles_of(counts, pipeline) == {HOT: 7e6, COLD: 10 / COLD_IPC}
    assert pipeline.asked == [HOT.code]


def test_functions_without_symbols_are_one_a_file(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    counts = {Place(str(text), 0, ADD): Counts(2, 8, 0, 0), Place(str(text), 64, ADD): Counts(3, 0, 4, 64)}
    (function,) = functions_of(counts, CORES["a53"], with_cycles=False)
    assert (function.name, function.file, function.instructions) == (NAMELESS, "text", 5)
    assert (function.read, function.written, function.memory) == (8, 4, 64)
    assert whole([function, function], "all").instructions == 10


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("__tvm_ffi_conv", "conv"), ("conv_compute_", "conv"), ("conv_compute_.3", "conv"), ("main", "main")],
)
def test_entry_and_body_of_a_kernel_have_one_name(symbol, name, monkeypatch):
    monkeypatch.setattr(Symbols, "at", lambda self, offset, or_before: symbol)
    assert function_name(HOT) == name


@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in (CONFIG, ASSEMBLER)),
    reason="LLVM is missing: scripts/install-debian-packages.sh yardstick",
)
def test_loops(program):
    symbols = Symbols(str(program))
    offset = next(at for at in range(0, program.stat().st_size, 4) if symbols.at(at) == "loop")
    counts = {Place(str(program), offset, LOOP_4): Counts(ROUNDS, 0, 0, 0), HOT: Counts(1, 0, 0, 0)}
    (loop,) = loops_of(counts, CORES["a53"], "loop", 3)
    assert loop.lines == ("ldr x9, [x0]", "str x9, [x0]", "subs x8, x8, #1", "b.ne #-12")
    assert loop.executions == ROUNDS
    assert loop.cycles > 4  # the store waits for the load
