"""All target rows, the most capable of each architecture first.

A row is chosen by the features of a ``tvm.target.Target`` (see ``targets.features``).
"""

from __future__ import annotations

from .arm.rows import ROWS as ARM
from .row import TargetRow
from .x86.rows import ROWS as X86

ROWS: tuple[TargetRow, ...] = (*X86, *ARM)
