"""Samples that can be walked through again, from ones that cannot.

A generator gives its samples once, and memory should not grow with their number: so they go to a temporary file
while they are used for the first time, and come from there afterwards.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def repeatable(samples: Iterable[T]) -> Iterable[T]:
    """Return the samples as an iterable that starts anew each time; what can do so already is returned as it is."""
    return Spool(samples) if isinstance(samples, Iterator) else samples


def spread(total: int, count: int) -> range:
    """Return so many of ``range(total)``, at most, evenly spread."""
    return range(0, total, max(1, -(-total // count)))


class Spool(Generic[T]):
    """What an iterator gives, kept in a temporary file that goes with this object.

    An iteration that is broken off leaves the rest to the next one. Several threads may read it.
    """

    def __init__(self, items: Iterator[T]):
        self._rest = items
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the object)
        self._places: list[int] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        index = 0
        while True:
            if index == len(self._places):
                try:
                    item = next(self._rest)
                except StopIteration:
                    return
                with self._lock:
                    place = self._file.seek(0, 2)
                    pickle.dump(item, self._file, protocol=5)
                    self._places.append(place)
            else:
                item = self[index]
            index += 1
            yield item

    def fill(self) -> Spool[T]:
        """Use what has not been used yet; return the spool."""
        for _ in self:
            pass
        return self

    def spread(self, count: int) -> Iterator[T]:
        """Give so many, at most, of those that have been used before, evenly spread."""
        return (self[index] for index in spread(self.count, count))

    @property
    def count(self) -> int:
        """How many have been used so far."""
        return len(self._places)

    def __getitem__(self, index: int) -> T:
        """Return one of those that have been used before."""
        with self._lock:
            self._file.seek(self._places[index])
            item: T = pickle.load(self._file)
        return item
