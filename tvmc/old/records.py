"""Records of tuning as the old ``tvmc`` took them: one file, or none yet --> a folder, or none and a line."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def current_records(path: Path | None, needed: bool = True) -> Path | None:
    """Return the folder of records; None for a file, which only AutoTVM and the auto-scheduler could read.

    Parameters
    ----------
    needed : what does not exist is for the caller to refuse; else it is passed over too.
    """
    if path is None or path.is_dir():
        return path
    if path.is_file():
        logger.warning(
            "%s is a file, as AutoTVM and the auto-scheduler wrote, and no folder of records: it is passed over",
            path,
        )
        return None
    if not needed:
        logger.warning("there are no tuning records %r yet: they are passed over", str(path))
        return None
    return path
