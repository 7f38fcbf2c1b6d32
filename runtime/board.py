"""Bundles for boards without Python: the C++ runner, TVM's runtime libraries and a model, in one folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TvmqError
from ..targets.host import arch_of_triple
from . import archive
from .compilers import gnu_triple, linker_for
from .inputs import bind_inputs
from .libraries import call, runtime_libraries
from .metadata import cpu_triple, decode, encode, is_for_gpu
from .package import Package
from .runner import RUNNER, build_runner


@dataclass(frozen=True)
class Board:
    """An architecture that bundles can be made for.

    Attributes
    ----------
    arch : its name, as in a package's metadata.
    wheel_platform : the platform tag of its wheels on the registry.
    """

    arch: str
    wheel_platform: str


BOARDS: dict[str, Board] = {
    row.arch: row
    for row in (
        Board("x86_64", "manylinux_2_28_x86_64"),
        Board("aarch64", "manylinux_2_28_aarch64"),
    )
}


def board_of(triple: str) -> Board:
    """Return the board of a target's triple, or of an architecture; raise ``TvmqError`` where TVM's runtime lacks."""
    board = BOARDS.get(arch_of_triple(triple))
    if board is None or not gnu_triple(triple).endswith("-linux-gnu"):
        raise TvmqError(
            f"a bundle has TVM's runtime, which comes for Linux with glibc on {' and '.join(BOARDS)}, and the target "
            f"is {triple}; a C library (--output-format c-static) needs none"
        )
    return board


def make_bundle(
    package: Package | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    cross_compiler: str | None = None,
    cross_compiler_options: Sequence[str] = (),
) -> Path:
    """Make a folder that runs the package on a board, with ``tvmq-run FOLDER --input NAME=FILE.npy ...``.

    Parameters
    ----------
    package : a package or the file of one; its architecture decides the board.
    folder : is created if need be; what is in it stays, unless it has the name of a file of the bundle.
    cross_compiler, cross_compiler_options : build the programs; see ``runtime.compilers.linker_for``.

    Returns
    -------
    The folder, with ``mod.so``, ``mod.json``, ``tvmq-run``, ``tvmq-rpc``, TVM's runtime libraries, for applications
    ``libtvmq.so`` and its header, and ``README.txt``, which says what each is for.

    Raises
    ------
    TvmqError : not a package, no board of its architecture, no compiler or no wheels for it; the folder cannot be
        written.
    """
    if isinstance(package, Package):
        metadata, library = package.metadata, package.library
    else:
        metadata, library = archive.read(package)
    triple = cpu_triple(metadata)
    folder = make_runtime(triple, folder, cross_compiler, cross_compiler_options, is_for_gpu(metadata))
    with _writing(folder):
        (folder / archive.METADATA).write_bytes(encode(metadata))
        (folder / archive.LIBRARY).write_bytes(library)
    return folder


def make_runtime(
    triple: str,
    folder: str | os.PathLike[str],
    cross_compiler: str | None = None,
    cross_compiler_options: Sequence[str] = (),
    gpu: bool = False,
) -> Path:
    """Make a bundle's folder without a package: what all packages for an architecture, and tuning on it, need.

    ``triple`` is a target's, or an architecture such as ``"aarch64"``; with ``gpu``, TVM's runtime for GPUs comes too.
    The rest is as for ``make_bundle``.
    """
    board, folder = board_of(triple), Path(folder)
    libraries = runtime_libraries(board.arch, board.wheel_platform)
    compiler = linker_for(triple, cross_compiler, cross_compiler_options)
    files = [*libraries, *build_runner(compiler, libraries)]
    if gpu:
        files.append(runtime_libraries(board.arch, board.wheel_platform, gpu)[-1])
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            shutil.copy2(path, folder / path.name)
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an ``OSError`` into the error that names the folder."""
    try:
        yield
    except OSError as error:
        raise TvmqError(f"cannot write {str(folder)!r}: {error.strerror or error}") from error


def run_bundle(
    folder: str | os.PathLike[str], inputs: Mapping[str, Any], launcher: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Run a bundle once, on this machine or under an emulator, and return its outputs by name.

    Parameters
    ----------
    folder : as ``make_bundle`` made it.
    inputs : an array for each input name.
    launcher : command that runs the board's programs here, such as
        ``("qemu-aarch64", "-cpu", "cortex-a72", "-L", "/usr/aarch64-linux-gnu")``; empty runs them directly.

    Raises
    ------
    TvmqError : an input does not fit, or the runner fails; its message is in the error.
    """
    folder = Path(folder)
    metadata = decode((folder / archive.METADATA).read_bytes(), str(folder))
    with tempfile.TemporaryDirectory(prefix="tvmq-") as scratch:
        command = [*launcher, str(folder / RUNNER), str(folder), "--output-dir", scratch]
        arrays = bind_inputs(metadata["inputs"], inputs, metadata.get("dimensions"))
        for index, (tensor, array) in enumerate(zip(metadata["inputs"], arrays, strict=True)):
            path = Path(scratch) / f"input{index}.npy"
            np.save(path, np.ascontiguousarray(array).reshape(array.shape))
            command += ["--input", f"{tensor['name']}={path}"]
        call(command, f"{RUNNER} failed")
        names = [tensor["name"] for tensor in metadata["outputs"]]
        return {name: np.load(Path(scratch) / f"{index}.npy") for index, name in enumerate(names)}
