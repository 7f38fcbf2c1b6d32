"""Looking up vectors of bytes, by name, of all architectures."""

from __future__ import annotations

from .arm.look_ups import LOOK_UPS as ARM
from .x86.look_ups import LOOK_UPS as X86

LOOK_UPS = {**ARM, **X86}
"""Name -> ``(uint8 vector, uint8 table [256]) -> uint8 vector``."""
