"""Records of tuning that the old ``tvmc`` wrote, in one file --> none, with a line that says so."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def current_records(path: Path | None) -> Path | None:
    """Return the folder of records; None for a file, which only AutoTVM and the auto-scheduler could read."""
    if path is None or not path.is_file():
        return path
    logger.warning(
        "%s is a file, as AutoTVM and the auto-scheduler wrote, and no folder of records: it is passed over",
        path,
    )
    return None
