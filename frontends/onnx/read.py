"""An ONNX file as it lies on disk: one regular file that holds one protobuf message."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from ...errors import TvmqError
from ..regular_file import content_of
from .external_data import load_external_data
from .limits import LARGEST_FILE

ARCHIVES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "zip archive, as .pt and .keras files are too"),
    (0, b"\x1f\x8b", "gzip file"),
    (0, b"\xfd7zXZ\0", "xz file"),
    (0, b"BZh", "bzip2 file"),
    (0, b"\x28\xb5\x2f\xfd", "zstd file"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (257, b"ustar", "tar archive"),
)
"""What is packed: where its mark stands, the mark, and what to call it. No ONNX model begins like one."""


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model in the file, its external data loaded.

    Raises
    ------
    TvmqError : the file is missing, unreadable, packed, corrupt or no ONNX model, or its external data cannot be read.
    """
    content = content_of(
        path,
        "ONNX",
        LARGEST_FILE,
        "an ONNX model has less than 2: larger weights lie beside it as external data",
    )
    for start, mark, kind in ARCHIVES:
        if content[start : start + len(mark)] == mark:
            raise TvmqError(
                f"{str(path)!r} is a {kind}, and no ONNX model: unpack it, and give the .onnx file in it"
            )
    try:
        proto = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise TvmqError(f"{str(path)!r} is no ONNX model, or a corrupt one: {error}") from error
    load_external_data(proto, path)
    return proto
