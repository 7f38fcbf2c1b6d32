"""Files that are no models: packed, endless, too large, nested too deep."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile

import pytest
from onnx import helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.read import read_model


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", content)
    return packed.getvalue()


def _tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("model.onnx")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("pack", "kind"),
    [
        (_zip, "zip archive"),
        (gzip.compress, "gzip file"),
        (bz2.compress, "bzip2 file"),
        (lzma.compress, "xz file"),
        (_tar, "tar archive"),
    ],
)
def test_packed_models_are_not_unpacked(tmp_path, pack, kind):
    path = tmp_path / "model.onnx"
    path.write_bytes(pack(bytes(1_000_000)))
    with pytest.raises(TvmqError, match=f"is a {kind}.*, and no ONNX model: unpack it"):
        read_model(path)


def test_what_never_ends(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(TvmqError, match="cannot be read: it is no regular file"):
            read_model(path)


def test_more_than_a_message_holds(tmp_path):
    with open(tmp_path / "m.onnx", "wb") as file:
        file.truncate(2**37)
    with pytest.raises(TvmqError, match="has 128.0 GiB, and an ONNX model has less than 2"):
        read_model(tmp_path / "m.onnx")


def test_a_path_with_a_nul():
    with pytest.raises(TvmqError, match="does not exist"):
        read_model("a\0b")


def test_branches_ten_thousand_deep(tmp_path):
    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "leaf", [], []).SerializeToString()
    for _ in range(10_000):
        attribute = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(1, b"c") + field(2, b"r") + field(4, b"If") + field(5, attribute))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a" + field(7, graph))
    with pytest.raises(TvmqError, match="is no ONNX model, or a corrupt one"):
        read_model(tmp_path / "m.onnx")
