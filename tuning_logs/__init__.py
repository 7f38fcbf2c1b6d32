"""Tuned records that ship with the package (``docs/tuning.md``).

<row of a CPU>/<threads>-threads/
<row of a GPU>/
"""

from __future__ import annotations

from pathlib import Path

from ..targets.row import TargetRow


def shipped_records(row: TargetRow, threads: int) -> Path | None:
    """Return the folder of records for a row, of a CPU cut up for so many threads; None where none ship."""
    folder = folder_of(row, threads, Path(__file__).parent)
    return folder if folder.is_dir() else None


def folder_of(row: TargetRow, threads: int, root: Path) -> Path:
    """Return where the records for a row lie below ``root``."""
    return root / row.name if row.gpu is not None else root / row.name / f"{threads}-threads"
