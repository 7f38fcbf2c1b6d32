"""Places in one piece of memory for values that live for a while: the largest first, each as low as it fits.

a: 64 bytes, steps 0 to 1      b: 32, 1 to 2      c: 64, 2 to 3     -->     a at 0, b at 64, c at 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...passes.hub.packing import ceil_div


@dataclass(frozen=True)
class Life:
    """A value's size in bytes, and the first and the last step in which it is needed."""

    bytes: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Tell whether there is a step in which both are needed."""
        return self.first <= other.last and other.first <= self.last


def place(lives: Sequence[Life], alignment: int) -> tuple[list[int], int]:
    """Return an offset for each value, a multiple of ``alignment``, and how many bytes there must be."""
    offsets: dict[int, int] = {}
    for index in sorted(range(len(lives)), key=lambda index: -lives[index].bytes):
        life = lives[index]
        offset = 0
        for other in sorted((each for each in offsets if lives[each].meets(life)), key=offsets.__getitem__):
            if offset + life.bytes <= offsets[other]:
                break
            offset = max(offset, _up(offsets[other] + lives[other].bytes, alignment))
        offsets[index] = offset
    end = max((offset + lives[index].bytes for index, offset in offsets.items()), default=0)
    return [offsets[index] for index in range(len(lives))], _up(end, alignment)


def _up(size: int, alignment: int) -> int:
    return ceil_div(size, alignment) * alignment
