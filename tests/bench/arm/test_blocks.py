"""Counts: the plugin's file, and differences."""

from __future__ import annotations

from tvmq.bench.arm.blocks import Counts, Place, counts_of_run, read_counts

NOP = bytes.fromhex("1f2003d5")
A, B = Place("/lib/a.so", 0x40, NOP), Place("", 0x1000, 2 * NOP)


def test_a_file(tmp_path):
    file = tmp_path / "counts"
    lines = (
        "7f0040\t/lib/a.so\t40\ta\t10\t8\t2\t1\t1f2003d5",
        "1000\t\t0\t1\t0\t0\t0\t0\t1f2003d51f2003d5",
    )
    file.write_text("\n".join(lines) + "\n")
    assert read_counts(file) == {A: Counts(10, 16, 8, 192), B: Counts(1, 0, 0, 0)}
    assert (A.instructions, B.instructions) == (1, 2)


def test_differences():
    fewer = {A: Counts(10, 100, 0, 64), B: Counts(7, 0, 0, 0)}
    more = {A: Counts(16, 140, 6, 64), B: Counts(7, 0, 0, 0)}
    assert counts_of_run(fewer, more, 2) == {A: Counts(3, 20, 3, 0)}
    assert counts_of_run({}, {B: Counts(4, 0, 0, 0)}, 4) == {B: Counts(1, 0, 0, 0)}
