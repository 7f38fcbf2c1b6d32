"""Blocks joined into traces: by their branches and their counts."""

from __future__ import annotations

import pytest

from tvmq.bench.arm.blocks import Counts, Place
from tvmq.bench.arm.traces import successors, traces

NOP = "1f2003d5"


def block(offset: int, last: str = NOP, length: int = 3, file: str = "a") -> Place:
    return Place(file, offset, bytes.fromhex(NOP * (length - 1) + last))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (NOP, [0x10C]),
        ("feffff17", [0x100]),  # b #-8
        ("02000014", [0x110]),  # b #8
        ("c1ffff54", [0x100, 0x10C]),  # b.ne #-8
        ("c0ffffb4", [0x100, 0x10C]),  # cbz x0, #-8
        ("c0ff1f37", [0x100, 0x10C]),  # tbnz w0, #3, #-8
        ("02000094", []),  # bl #8
        ("c0035fd6", []),  # ret
        ("00003fd6", []),  # blr x0
    ],
)
def test_successors(last, expected):
    assert successors(block(0x100, last)) == expected


def test_equal_counts_join():
    first, second, third = block(0x100), block(0x10C), block(0x118, "c0035fd6")
    counts = {third: Counts(2, 0, 0, 0), second: Counts(5, 0, 0, 0), first: Counts(5, 0, 0, 0)}
    found = {trace.places: trace.executions for trace in traces(counts)}
    assert found == {(first, second): 5, (third,): 2}


def test_a_loop_of_two_blocks_is_one_trace():
    head, back = block(0x100), block(0x10C, "61ffff54")  # b.ne #-20
    assert successors(back)[0] == head.offset
    (trace,) = traces({head: Counts(9, 0, 0, 0), back: Counts(9, 0, 0, 0)})
    assert set(trace.places) == {head, back}
    assert len(trace.code) == 24
    assert len(traces({head: Counts(9, 0, 0, 0), back: Counts(9.5, 0, 0, 0)})) == 2


def test_a_loop_of_its_own_stays_alone():
    loop, behind = block(0x100, "c1ffff54"), block(0x10C)
    assert successors(loop)[0] == loop.offset
    assert len(traces({loop: Counts(4, 0, 0, 0), behind: Counts(4, 0, 0, 0)})) == 2


def test_files_are_apart():
    counts = {block(0x100): Counts(1, 0, 0, 0), block(0x10C, file="b"): Counts(1, 0, 0, 0)}
    assert len(traces(counts)) == 2
