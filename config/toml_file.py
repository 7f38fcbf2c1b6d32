"""A TOML file --> its values, and where in it each stands, so that an error can say so."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TvmqError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SECTION = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([^=\[#]+?)\s*=")


@dataclass(frozen=True)
class TomlFile:
    """A file that has been read.

    Attributes
    ----------
    path, text : the file.
    values : what is in it; tables are dicts.
    """

    path: Path
    text: str
    values: dict[str, Any]

    def place(self, section: str, key: str = "") -> str:
        """Return where a key, or a section, stands, as an error begins: ``q.toml, line 3``."""
        inside = not section
        for number, line in enumerate(self.text.splitlines(), start=1):
            header = _SECTION.match(line)
            if header:
                name = _plain(header[1])
                inside = name == section
                if (inside and not key) or name == _dotted(section, key):
                    return f"{self.path}, line {number}"
                continue
            found = _KEY.match(line)
            if found is None:
                continue
            # A dotted key may stand for the section: image.mean = 0.5
            name = _plain(found[1])
            if (inside and name == key) or name == _dotted(section, key):
                return f"{self.path}, line {number}"
        return f"{self.path}, [{section}]" if section else str(self.path)


def read_toml(path: str | Path, kind: str) -> TomlFile:
    """Return a file's contents.

    Parameters
    ----------
    kind : what the file is, for the error: ``"configuration"``.

    Raises
    ------
    TvmqError : there is no such file, it cannot be read, or it is not TOML, with the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TvmqError(f"{kind} file {str(path)!r} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TvmqError(f"{kind} file {str(path)!r} cannot be read: {error}") from error
    try:
        return TomlFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TvmqError(f"{kind} file {str(path)!r} is not TOML: {error}") from error


def _plain(name: str) -> str:
    """Return a key without the quotes and spaces that TOML allows around it."""
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key
