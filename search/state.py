"""The measurements of a search in a file, so that one that was broken off, or killed, goes on where it was.

A search decides everything from its measurements, in a fixed order. So it is resumed by running it again: what has been
measured is read instead of measured, and the way to the same point takes no time. The file is written anew, whole or
not at all, after each measurement:

    {"format": "tvmq-search", "version": 1, "model": "9f2c...", "measurements": {"error conv1 4": 0.0012, ...}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import TvmqError

FORMAT, VERSION = "tvmq-search", 1


class SearchState:
    """The measurements by name, each a number.

    Parameters
    ----------
    path : the file; None keeps nothing.
    model : what tells this search's measurements from those of other models, options and samples.

    Raises
    ------
    TvmqError : the file cannot be read, is no search's, or another search's.
    """

    def __init__(self, path: str | os.PathLike[str] | None, model: str) -> None:
        self._path = None if path is None else Path(path)
        self._model = model
        self._values: dict[str, float] = {}
        if self._path is not None and self._path.exists():
            self._values = self._read(self._path)

    def measure(self, name: str, make: Callable[[], float]) -> float:
        """Return the measurement of that name; ``make`` makes it where it has not been made.

        Raises
        ------
        TvmqError : the file cannot be written. Whatever ``make`` raises; nothing is kept then.
        """
        if name not in self._values:
            self._values[name] = float(make())
            self._write()
        return self._values[name]

    def _read(self, path: Path) -> dict[str, float]:
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise TvmqError(f"the search state {str(path)!r} cannot be read: {error}") from error
        if not isinstance(record, dict) or (record.get("format"), record.get("version")) != (FORMAT, VERSION):
            raise TvmqError(f"{str(path)!r} is no search state of version {VERSION}")
        if record.get("model") != self._model:
            raise TvmqError(
                f"the search state {str(path)!r} is of another model, or of other options or samples; name another "
                "file, or delete it"
            )
        values = record.get("measurements")
        if not isinstance(values, dict) or not all(isinstance(value, float) for value in values.values()):
            raise TvmqError(f"the search state {str(path)!r} is damaged: its measurements must be numbers")
        return values

    def _write(self) -> None:
        if self._path is None:
            return
        record = {
            "format": FORMAT,
            "version": VERSION,
            "model": self._model,
            "measurements": self._values,
        }
        part = self._path.with_name(self._path.name + ".part")
        try:
            part.write_text(json.dumps(record, indent=1))
            os.replace(part, self._path)
        except OSError as error:
            raise TvmqError(f"the search state {str(self._path)!r} cannot be written: {error}") from error
