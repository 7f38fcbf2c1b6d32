"""Which samples are held out of learning: every k-th one, so that each part of the data, however sorted, has some.

a share of 0.15     -->     k = 7: samples 6, 13, 20, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


def is_held(place: int, share: float) -> bool:
    """Tell whether a sample is held out where about a share of all is."""
    period = max(2, round(1.0 / share))
    return place % period == period - 1


@dataclass(frozen=True)
class Learned(Generic[T]):
    """The samples that are not held out: what chooses scales and integers before must not have seen the others.

    Attributes
    ----------
    samples : all of them.
    share : as for ``is_held``.
    """

    samples: Iterable[T]
    share: float

    def __iter__(self) -> Iterator[T]:
        return (sample for place, sample in enumerate(self.samples) if not is_held(place, self.share))

    def __len__(self) -> int:
        if not isinstance(self.samples, Sized):
            raise TypeError("nobody knows how many samples there are")
        return sum(not is_held(place, self.share) for place in range(len(self.samples)))
