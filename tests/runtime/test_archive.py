from __future__ import annotations

import gzip
import io
import json
import os
import tarfile

import pytest

from tvmq.errors import TvmqError
from tvmq.runtime import archive, metadata


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_round_trip(built, package_path):
    content, library = archive.read(package_path)
    assert content == built.metadata == archive.read_metadata(package_path)
    assert len(library) == content["bytes"]["total"]
    with tarfile.open(package_path) as tar:
        assert tar.getnames() == ["mod.json", "mod.so"]


def test_same_content_gives_the_same_bytes(built, tmp_path):
    built.export(tmp_path / "a.tar")
    built.export(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_failed_write_leaves_the_old_file(built, package_path, monkeypatch):
    before = package_path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TvmqError, match="cannot write .*: No space left on device"):
        built.export(package_path)
    assert package_path.read_bytes() == before
    assert [path.name for path in package_path.parent.iterdir()] == [package_path.name]


def test_an_interrupted_write_leaves_nothing(built, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "_add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        built.export(tmp_path / "model.tar")
    assert list(tmp_path.iterdir()) == []


def test_output_paths_that_cannot_be(built, tmp_path):
    with pytest.raises(TvmqError, match="cannot write .*absent/model.tar: No such file or directory"):
        built.export(tmp_path / "absent" / "model.tar")
    with pytest.raises(TvmqError, match="it is a folder"):
        built.export(tmp_path)


def test_files_that_are_no_packages(tmp_path):
    with pytest.raises(TvmqError, match="absent.tar does not exist"):
        archive.read(tmp_path / "absent.tar")
    with pytest.raises(TvmqError, match="is a folder; expected a package such as model.tar"):
        archive.read(tmp_path)
    path = tmp_path / "model.tar"
    for content in (b"", b"not a tar at all" * 100):
        path.write_bytes(content)
        with pytest.raises(TvmqError, match="model.tar is not a package"):
            archive.read(path)


def test_a_truncated_package(package_path):
    package_path.write_bytes(package_path.read_bytes()[:-20000])
    with pytest.raises(TvmqError, match="model.tar is not a package: unexpected end of data"):
        archive.read(package_path)


def test_missing_members_are_named(built, tmp_path):
    path = tmp_path / "model.tar"
    write_tar(path, {"mod.json": metadata.encode(built.metadata)})
    with pytest.raises(TvmqError, match="it lacks mod.so"):
        archive.read(path)
    write_tar(path, {"mod.so": b"", "elsewhere/mod.json": b"{}"})
    with pytest.raises(TvmqError, match="it lacks mod.json"):
        archive.read(path)


def _special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_members_that_are_no_files(built, tmp_path, kind):
    path = tmp_path / "model.tar"
    for target in ("mod.json", "/etc/passwd", "../../etc/passwd", "mod.so"):
        write_tar(path, {"mod.json": metadata.encode(built.metadata)})
        with tarfile.open(path, "a") as tar:
            tar.addfile(_special("mod.so", kind, target))
        with pytest.raises(TvmqError, match="it lacks mod.so"):
            archive.read(path)


def test_no_path_of_an_archive_is_used(built, tmp_path):
    outside = tmp_path / "outside"
    path = tmp_path / "model.tar"
    members = {"mod.json": metadata.encode(built.metadata), "mod.so": b"code"}
    write_tar(path, {"../outside": b"x", str(outside): b"x", **members})
    assert archive.read(path)[1] == b"code"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.tar"]


def test_members_longer_than_the_archive(built, tmp_path):
    path = tmp_path / "model.tar"
    member = tarfile.TarInfo("mod.json")
    member.size = 2**40
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(TvmqError, match="is not a package: unexpected end of data"):
        archive.read(path)


def test_compressed_archives_are_not_unpacked(built, tmp_path):
    path = tmp_path / "model.tar"
    built.export(path)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    with pytest.raises(TvmqError, match="model.tar is not a package"):
        archive.read(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.tar")
    with pytest.raises(TvmqError, match="cannot read .*model.tar"):
        archive.read(tmp_path / "model.tar")


def test_lists_in_lists_without_end(tmp_path):
    path = tmp_path / "model.tar"
    write_tar(path, {"mod.json": b"[" * 100_000, "mod.so": b""})
    with pytest.raises(TvmqError, match="mod.json is not JSON"):
        archive.read(path)


def test_damaged_code_is_not_loaded(built, tmp_path):
    path = tmp_path / "model.tar"
    built.export(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TvmqError, match="model.tar is damaged: mod.so is not what was written"):
        archive.read(path)


def test_a_package_without_a_checksum_is_read(built, tmp_path):
    path = tmp_path / "old.tar"
    write_tar(path, {"mod.json": metadata.encode(built.metadata), "mod.so": b"code"})
    assert archive.read(path) == (built.metadata, b"code")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, r"has package format 99; this tvmq reads up to 2: install a newer one"),
        ({"layers": None}, "field 'layers' must be of type list, not NoneType"),
        (
            {"inputs": [{"name": "x"}]},
            "each of mod.json's inputs must have name, shape, dtype, of the right type",
        ),
        ({"kernels": ["k"]}, "each of mod.json's kernels must have name, layers, of the right type"),
        (
            {"layers": [{"name": "n"}]},
            "each of mod.json's layers must have name, op, status, reason, details",
        ),
        (
            {"outputs": [{"name": "y", "shape": [-1], "dtype": "float32"}]},
            "'y' in mod.json has no shape and dtype that an array can have",
        ),
        (
            {"inputs": [{"name": "x", "shape": [1], "dtype": "float33"}]},
            "'x' in mod.json has no shape and dtype that an array can have",
        ),
        (
            {"inputs": [{"name": "x", "shape": [1], "dtype": "int64", "range": [0, 1.5]}]},
            "'x' in mod.json has a range that is no two numbers",
        ),
        ({"bytes": {"total": "many"}}, "field 'bytes' must hold numbers"),
    ],
)
def test_metadata_that_cannot_be_read(built, change, message):
    content = json.dumps({**built.metadata, **change}).encode()
    with pytest.raises(TvmqError, match=message):
        metadata.decode(content, "model.tar")


def test_packages_of_the_old_tvmc():
    graph = {"nodes": [], "arg_nodes": [], "heads": [], "attrs": {}, "node_row_ptr": []}
    with pytest.raises(
        TvmqError, match="old.tar is a package of TVM's graph executor, .* compile the model again"
    ):
        metadata.decode(json.dumps(graph).encode(), "old.tar")


def test_metadata_that_is_not_an_object_or_lacks_a_field(built):
    with pytest.raises(TvmqError, match="model.tar: mod.json is not JSON"):
        metadata.decode(b"{", "model.tar")
    with pytest.raises(TvmqError, match="must hold an object"):
        metadata.decode(b"[]", "model.tar")
    content = {key: value for key, value in built.metadata.items() if key != "scheme"}
    with pytest.raises(TvmqError, match="lacks the field 'scheme'"):
        metadata.decode(json.dumps(content).encode(), "model.tar")
