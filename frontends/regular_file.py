"""A model's file as bytes: a regular one, and no larger than its format allows."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import TvmqError


def content_of(path: Path, kind: str, largest: int, beyond: str) -> bytes:
    """Return the bytes of a regular file; a pipe or a device, which may never end, is not opened for reading.

    Parameters
    ----------
    kind : of the file, for messages, such as ``"ONNX"``.
    largest : bytes that it has at most; ``beyond`` says what to make of a larger one.

    Raises
    ------
    TvmqError : the file is missing, unreadable, no regular one, or too large.
    """
    try:
        # Without O_NONBLOCK a pipe that nobody writes to would wait forever.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise TvmqError(f"{kind} file {str(path)!r} cannot be read: it is no regular file")
            if status.st_size > largest:
                raise TvmqError(
                    f"{kind} file {str(path)!r} has {status.st_size / 2**30:.1f} GiB, and {beyond}"
                )
            return file.read(status.st_size)
    except FileNotFoundError:
        raise TvmqError(f"{kind} file {str(path)!r} does not exist") from None
    except OSError as error:
        raise TvmqError(f"{kind} file {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError:  # a NUL in the path
        raise TvmqError(f"{kind} file {str(path)!r} does not exist") from None
