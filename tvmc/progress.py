"""Progress bars, on standard error and only where someone looks at it."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

_SIZE: dict[str, Any] = {"ncols": 80, "nrows": 24}
"""Of terminals that do not know their own."""


def progress(description: str, total: int | None) -> tqdm:
    """Return the bar of one phase: a context manager with ``update(n=1)``.

    Parameters
    ----------
    description : what is being done, such as ``"calibrate"``.
    total : number of steps; None where it is not known.
    """
    from tqdm import tqdm

    size = {"dynamic_ncols": True} if _knows_its_size(sys.stderr) else _SIZE
    # disable=None: silent where standard error is no terminal.
    return tqdm(desc=description, total=total, file=sys.stderr, disable=None, leave=False, **size)


def _knows_its_size(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with a size: one in a container may say that it has 0 columns."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False


class NotesAboveBars(logging.StreamHandler):
    """Writes messages to standard error without breaking the bars that are there."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:  # no bar yet, and importing it takes time
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            super().emit(record)
