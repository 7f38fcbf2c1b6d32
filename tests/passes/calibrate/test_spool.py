"""What an iterator gives once can be walked through again, and be taken one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tvmq.passes.calibrate.spool import Spool, repeatable


def test_walked_through_again_and_again():
    spool = Spool(iter(["a", "b", "c"]))
    first = iter(spool)
    assert next(first) == "a"
    assert list(spool) == ["a", "b", "c"] == list(spool)
    assert list(first) == ["b", "c"]


def test_one_of_those_that_have_been_used():
    spool = Spool(iter("abc"))
    assert spool.count == 0
    next(iter(spool))
    assert spool.count == 1
    assert list(spool) == ["a", "b", "c"]
    assert (spool.count, spool[2], spool[0]) == (3, "c", "a")


def test_some_of_those_that_have_been_used():
    spool = Spool(iter(range(10)))
    assert list(spool.spread(3)) == []
    assert spool.fill() is spool and spool.count == 10
    assert list(spool.spread(3)) == [0, 4, 8]
    assert list(spool.spread(10)) == list(spool.spread(99)) == list(range(10))


def test_what_can_be_repeated_stays_as_it_is():
    samples = [1, 2]
    assert repeatable(samples) is samples
    assert list(repeatable(iter(samples))) == samples


def test_several_threads_read_it():
    # Large enough for a file's buffer to end within an item.
    spool = Spool(np.full(3000, value) for value in range(20)).fill()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda place: spool[place % 20], range(2000)))
    assert all((item == place % 20).all() for place, item in enumerate(found))
