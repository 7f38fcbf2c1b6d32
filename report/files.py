"""A report --> ``tensors.csv``, ``outputs.csv``, ``layers.csv`` and ``report.html`` in a folder; the tables again from
those or from a package's ``mod.json``.

A table is ``{"columns": [name, ...], "rows": [[value, ...], ...]}``: in JSON too each name is there once.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TvmqError
from .records import Figures, LayerRecord, OutputRecord, TensorRecord

METADATA = "errors"
"""Field of ``mod.json`` that holds ``tables`` of a report."""
PAGE = "report.html"
_DIGITS = 7  # as many as float32 has

TABLES: dict[str, type] = {"tensors": TensorRecord, "outputs": OutputRecord, "layers": LayerRecord}
"""Name of each table, and so of its CSV file -> what a row is."""


def tables(report: Figures, names: Sequence[str] = tuple(TABLES)) -> dict[str, Any]:
    """Return tables of the report as JSON values, floats to 7 digits."""
    return {
        name: {
            "columns": [field.name for field in dataclasses.fields(TABLES[name])],
            "rows": [[_short(value) for value in dataclasses.astuple(row)] for row in getattr(report, name)],
        }
        for name in names
    }


def write_csv(report: Figures, folder: str | os.PathLike[str]) -> None:
    """Write a CSV file for each table; what is not known is an empty field.

    Raises
    ------
    TvmqError : the folder cannot be made or written.
    """
    folder = _make_folder(folder)
    for name, table in tables(report).items():
        path = folder / f"{name}.csv"
        rows = [[_joined(value) for value in row] for row in table["rows"]]
        try:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([table["columns"], *rows])
        except OSError as error:
            raise _cannot_write(path, error) from error


def write_page(report: Figures, path: str | os.PathLike[str]) -> None:
    """Write the HTML page; raises ``TvmqError`` where the file cannot be written."""
    from .html import page

    text = page(report)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(path, error) from error


def read_csv(folder: str | os.PathLike[str], name: str) -> list[dict[str, str]]:
    """Return the rows of a table that ``write_csv`` wrote, as text.

    Raises
    ------
    TvmqError : there is no such file, or it lacks a column.
    """
    path = Path(folder) / f"{name}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TvmqError(f"{str(folder)!r} is no report: cannot read {path.name!r} in it ({error})") from error
    wanted = [field.name for field in dataclasses.fields(TABLES[name])]
    missing = [column for column in wanted if column not in (reader.fieldnames or ())]
    if missing:
        raise TvmqError(f"{str(path)!r} lacks the column {missing[0]!r}")
    return rows


def read_metadata_table(metadata: Mapping[str, Any], name: str, source: str) -> list[dict[str, Any]]:
    """Return the rows of a table in a package's metadata.

    Raises
    ------
    TvmqError : the package, ``source`` in the message, was made without a report.
    """
    if METADATA not in metadata:
        raise TvmqError(
            f"{source} holds no table of errors: make it with tvmc compile --quantize ... --report DIR"
        )
    table = metadata[METADATA][name]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise ``TvmqError`` where no folder can be made there or nothing written in it; leaves nothing behind."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    _make_folder(path)
    for folder in missing:
        folder.rmdir()


def _make_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder, made where it is not there; raises ``TvmqError`` where nothing can be written in it."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Asking for permissions would not do: root has them all, also on a read-only file system.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _cannot_write(path: str | os.PathLike[str], error: OSError) -> TvmqError:
    return TvmqError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}")


def _short(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _joined(value: Any) -> Any:
    """Return several values as one field."""
    return "; ".join(str(_short(item)) for item in value) if isinstance(value, tuple) else value
