"""What the plugin counted, block by block, and what one run of a model adds to it.

counts of a run = (counts of a process with M runs - counts of one with N) / (M - N)

so start-up counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORD = 4
"""Bytes of an instruction."""


@dataclass(frozen=True)
class Place:
    """Where a block's code is.

    Attributes
    ----------
    file : what is mapped there; empty for code that a program made.
    offset : the block's first byte in the file; without a file, its address.
    code : the instructions' bytes.
    """

    file: str
    offset: int
    code: bytes

    @property
    def instructions(self) -> int:
        """How many there are."""
        return len(self.code) // WORD


@dataclass(frozen=True)
class Counts:
    """What a block did.

    Attributes
    ----------
    executions : how often it ran.
    read, written : bytes of its loads and stores.
    memory : bytes between the last cache and memory, both ways.
    """

    executions: float
    read: float
    written: float
    memory: float


LINE = 64
"""Bytes of a cache line, in the plugin as well."""


def read_counts(file: Path) -> dict[Place, Counts]:
    """Return the blocks of a file of the plugin's; its lines are described in ``cpp/counts.c``."""
    found = {}
    for line in file.read_text().splitlines():
        address, path, *numbers, code = line.split("\t")
        offset, executions, read, written, filled, flushed = (int(number, 16) for number in numbers)
        place = Place(path, offset if path else int(address, 16), bytes.fromhex(code))
        found[place] = Counts(executions, read, written, LINE * (filled + flushed))
    return found


def counts_of_run(
    fewer: Mapping[Place, Counts], more: Mapping[Place, Counts], runs: int
) -> dict[Place, Counts]:
    """Return what one run of the model adds, for the blocks of which it runs any.

    Parameters
    ----------
    fewer, more : of two processes, of which the second ran the model ``runs`` times more.
    """
    nothing = Counts(0, 0, 0, 0)
    differences = {
        place: Counts(*((_numbers(counts) - _numbers(fewer.get(place, nothing))) / runs).tolist())
        for place, counts in more.items()
    }
    return {place: counts for place, counts in differences.items() if counts.executions > 0}


def _numbers(counts: Counts) -> np.ndarray:
    return np.array([counts.executions, counts.read, counts.written, counts.memory], float)
