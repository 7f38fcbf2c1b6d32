"""Work on arrays in parts that fit into a core's cache, on all cores: NumPy lets go of the interpreter meanwhile.

An elementwise formula of five operations reads and writes a large array ten times; in parts, most of that stays in the
cache. What is computed is the same, whatever the number of cores.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")

PART = 1 << 17
"""Elements of a part, about: half a megabyte of float32."""


def in_parts(function: Callable[[slice], T], shape: tuple[int, ...]) -> list[T]:
    """Call a function with slices of the first axis of arrays of this shape; return its results in their order."""
    count, row = shape[0], max(1, math.prod(shape[1:]))
    size = max(1, PART // row)
    slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    if len(slices) == 1:
        return [function(slices[0])]
    return list(_workers().map(function, slices))


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())
