"""Values that live at the same time lie apart; those that do not share memory."""

from __future__ import annotations

import numpy as np

from tvmq.schedules.c_library.first_fit import Life, place


def test_values_take_turns():
    lives = [Life(64, 0, 1), Life(32, 1, 2), Life(64, 2, 3)]
    assert place(lives, 16) == ([0, 64, 0], 96)


def test_a_small_value_goes_into_a_gap():
    lives = [Life(128, 0, 2), Life(96, 0, 0), Life(64, 1, 2), Life(16, 2, 2)]
    offsets, size = place(lives, 16)
    assert (offsets, size) == ([0, 128, 128, 192], 224)


def test_offsets_are_aligned():
    offsets, size = place([Life(5, 0, 0), Life(3, 0, 0)], 16)
    assert (offsets, size) == ([0, 16], 32)


def test_nothing_takes_nothing():
    assert place([], 16) == ([], 0)


def test_random_values_do_not_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        firsts = rng.integers(0, 20, 30)
        lives = [
            Life(int(size), int(first), int(first + length))
            for size, first, length in zip(
                rng.integers(0, 500, 30), firsts, rng.integers(0, 6, 30), strict=True
            )
        ]
        offsets, size = place(lives, 16)
        for index, (life, offset) in enumerate(zip(lives, offsets, strict=True)):
            assert offset % 16 == 0 and offset + life.bytes <= size
            for other, at in zip(lives[:index], offsets, strict=False):
                if life.meets(other):
                    assert offset + life.bytes <= at or at + other.bytes <= offset
