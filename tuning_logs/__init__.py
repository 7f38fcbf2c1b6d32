"""Tuned records that ship with the package: ``<target row>/<threads>-threads/`` (``docs/tuning.md``)."""

from __future__ import annotations

from pathlib import Path


def shipped_records(row: str, threads: int) -> Path | None:
    """Return the folder of records for a row of ``targets.rows``, cut up for so many threads; None where none ship."""
    folder = Path(__file__).parent / row / f"{threads}-threads"
    return folder if folder.is_dir() else None
