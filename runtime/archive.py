"""``model.tar`` on disk: a plain tar of ``mod.json`` and ``mod.so``, the same bytes for the same content."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import TvmqError
from ..replacing import replacing
from . import metadata as _metadata

METADATA = "mod.json"
LIBRARY = "mod.so"
CHECKSUM = "sha256"
"""Field of ``mod.json``: of ``mod.so``."""


def write(path: str | os.PathLike[str], metadata: Mapping[str, Any], library: bytes) -> None:
    """Write the package; readers of ``path`` see the old file or the whole new one, never a part.

    Parameters
    ----------
    path : the file to make or replace; its folder must exist.
    metadata : see ``docs/package-format.md``.
    library : the content of ``mod.so``.

    Raises
    ------
    TvmqError : the folder is missing or not writable, or the path is a folder.
    """
    description = _metadata.encode({**metadata, CHECKSUM: _checksum(library)})
    # mod.json first: a reader that only wants it need not pass over the library.
    write_members(path, ((METADATA, description, 0o644), (LIBRARY, library, 0o755)))


def write_members(path: str | os.PathLike[str], members: Iterable[tuple[str, bytes, int]]) -> None:
    """Write a tar of members, each its name, content and mode; else as ``write``."""
    path = Path(path)
    if path.is_dir():
        raise TvmqError(f"cannot write {path}: it is a folder, and a file name was expected")
    try:
        with (
            replacing(path) as temporary,
            open(temporary, "wb") as stream,
            tarfile.open(fileobj=stream, mode="w") as archive,
        ):
            for member in members:
                _add(archive, *member)
    except OSError as error:
        raise TvmqError(f"cannot write {path}: {error.strerror}") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the metadata of a package for any machine, without loading its code.

    Raises
    ------
    TvmqError : no such file, not a package, damaged, or of a newer format.
    """
    metadata = _metadata.decode(_members(path, METADATA)[METADATA], str(path))
    metadata.pop(CHECKSUM, None)  # of the file, and no part of what it holds
    return metadata


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], bytes]:
    """Return the metadata and the content of ``mod.so``; errors as ``read_metadata``."""
    members = _members(path, METADATA, LIBRARY)
    metadata, library = _metadata.decode(members[METADATA], str(path)), members[LIBRARY]
    # Older packages have none. Damaged code would end the process without a word.
    if metadata.pop(CHECKSUM, None) not in (None, _checksum(library)):
        raise TvmqError(f"{path} is damaged: {LIBRARY} is not what was written")
    return metadata, library


def _checksum(library: bytes) -> str:
    return hashlib.sha256(library).hexdigest()


def opened(path: str | os.PathLike[str]) -> tarfile.TarFile:
    """Return a plain tar for reading; raises what ``tarfile`` does, and ``OSError`` for a pipe or a device."""
    if not Path(path).is_file():
        Path(path).stat()  # raises where there is nothing
        raise OSError(errno.EINVAL, "it is no regular file")
    return tarfile.open(path, "r:")  # compressed, a few bytes could be any number of them


def content_of(archive: tarfile.TarFile, name: str) -> bytes:
    """Return the content of a member that lies in the archive itself, whole.

    Raises
    ------
    KeyError : there is none, or it is a link, a folder, a device or a file with holes, which has no bytes of its own.
    tarfile.ReadError : it says that it is longer than the archive.
    """
    member = archive.getmember(name)
    if not 0 <= member.size <= os.stat(str(archive.name)).st_size:
        raise tarfile.ReadError("unexpected end of data")
    stream = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if stream is None:
        raise KeyError(name)
    return stream.read()


def _members(path: str | os.PathLike[str], *names: str) -> dict[str, bytes]:
    """Return the content of the named members; no path inside an archive is ever used as one."""
    if Path(path).is_dir():
        raise TvmqError(f"{path} is a folder; expected a package such as model.tar")
    found: dict[str, bytes] = {}
    try:
        with opened(path) as archive:
            for name in names:
                found[name] = content_of(archive, name)
    except FileNotFoundError as error:
        raise TvmqError(f"{path} does not exist") from error
    except KeyError:
        pass
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise TvmqError(f"{path} is not a package: {error}") from error
    except OSError as error:
        raise TvmqError(f"cannot read {path}: {error.strerror or error}") from error
    for name in names:
        if name not in found:
            raise TvmqError(f"{path} is not a package: it lacks {name}")
    return found


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    """Add a member that carries no time and no owner."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = mode
    archive.addfile(member, io.BytesIO(data))
