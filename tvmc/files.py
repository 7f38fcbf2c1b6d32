"""Output files: found writable before the work, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TvmqError

if TYPE_CHECKING:
    import numpy as np


def check_output(path: Path, source: Path | None) -> None:
    """Raise ``TvmqError`` where a file cannot be made or replaced; leaves nothing behind.

    Parameters
    ----------
    source : the file that the output is made from, which it must not replace; None where there is none.
    """
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise TvmqError(f"cannot write {str(path)!r}: it is the input")
    if path.is_dir():
        raise TvmqError(f"cannot write {str(path)!r}: it is a folder, and a file name was expected")
    try:
        # Asking for permissions would not do: root has them all, also on a read-only file system.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise TvmqError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``.npz``; readers of ``path`` see the old file or the whole new one.

    ``numpy.savez`` takes the names as keywords, and so not every name that a model's output may have.
    """
    import numpy as np

    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def write_text(path: Path, text: str) -> None:
    """Write text; readers of ``path`` see the old file or the whole new one."""
    with replacing(path) as temporary:
        temporary.write_text(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a file that replaces ``path`` at the end; raises ``TvmqError`` where it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise TvmqError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
