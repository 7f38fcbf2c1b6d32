"""Blocks that always run one after the other, joined into the sequences whose cycles are modelled.

A block that may go on to another one, and runs just as often, is taken to do so: QEMU cuts a loop's body at page ends,
and at branches that are never, or always, taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .blocks import WORD, Counts, Place

EQUAL = 1e-6
"""Relative difference of counts below which blocks run equally often."""


@dataclass(frozen=True)
class Trace:
    """A sequence of blocks.

    Attributes
    ----------
    places : the blocks, in the order in which they run.
    executions : how often the sequence runs.
    """

    places: tuple[Place, ...]
    executions: float

    @property
    def code(self) -> bytes:
        """The bytes of all instructions."""
        return b"".join(place.code for place in self.places)


def successors(place: Place) -> list[int]:
    """Return the offsets where a block may go on in its own file: the target of its last branch, and what follows.

    A call, a return or an indirect branch leads to nothing that is known.
    """
    word = int.from_bytes(place.code[-WORD:], "little")
    end = place.offset + len(place.code)
    if word >> 26 == 0b000101:  # b
        return [_target(end, word, 0, 26)]
    if word & 0xFF000000 == 0x54000000 or word & 0x7E000000 == 0x34000000:  # b.cond, cbz, cbnz
        return [_target(end, word, 5, 19), end]
    if word & 0x7E000000 == 0x36000000:  # tbz, tbnz
        return [_target(end, word, 5, 14), end]
    if word >> 26 == 0b100101 or word & 0xFE000000 == 0xD6000000:  # bl, br, blr, ret
        return []
    return [end]


def _target(end: int, word: int, low: int, bits: int) -> int:
    """Return where a branch leads whose distance is a signed field of its word."""
    distance = word >> low & (1 << bits) - 1
    return end - WORD + WORD * (distance - (distance >> bits - 1 << bits))


def traces(counts: Mapping[Place, Counts]) -> list[Trace]:
    """Return every block in exactly one trace."""
    starts: dict[tuple[str, int], list[Place]] = {}
    for place in counts:
        starts.setdefault((place.file, place.offset), []).append(place)
    following: dict[Place, Place] = {}
    led_to: set[Place] = set()
    for place in counts:
        candidates = [next_ for offset in successors(place) for next_ in starts.get((place.file, offset), [])]
        if place in candidates:  # a loop of its own
            continue
        same = [next_ for next_ in candidates if _equal(counts[place], counts[next_])]
        if same and same[0] not in led_to:
            following[place] = same[0]
            led_to.add(same[0])
    return [Trace(tuple(chain), counts[chain[0]].executions) for chain in _chains(counts, following)]


def _equal(left: Counts, right: Counts) -> bool:
    return abs(left.executions - right.executions) <= EQUAL * left.executions


def _chains(places: Iterable[Place], following: Mapping[Place, Place]) -> Iterable[list[Place]]:
    """Yield the blocks along the links: first what nothing leads to, then circles."""
    seen: set[Place] = set()
    led_to = set(following.values())
    for place in sorted(places, key=led_to.__contains__):
        chain = []
        while place is not None and place not in seen:
            seen.add(place)
            chain.append(place)
            place = following.get(place)
        if chain:
            yield chain
