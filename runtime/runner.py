"""Building ``tvmq-run``, the C++ program that runs a package where there is no Python."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import TvmqError
from .libraries import cache_folder, call, installed_folder, replacing

RUNNER = "tvmq-run"
_SOURCES = Path(__file__).parent / "cpp"


def build_runner(compiler: str, libraries: Sequence[Path]) -> Path:
    """Return the path of the runner; it is built once for the same sources, libraries and compiler.

    Parameters
    ----------
    compiler : C++17 compiler for the board's architecture, such as ``"aarch64-linux-gnu-g++"``.
    libraries : TVM's runtime libraries for it; the program looks for them in its own folder.

    Raises
    ------
    TvmqError : there is no such compiler, or it fails.
    """
    if shutil.which(compiler) is None:
        raise TvmqError(f"C++ compiler {compiler!r} is not on the PATH; it builds {RUNNER}")
    sources = sorted(_SOURCES.glob("*.cc"))
    digest = hashlib.sha256(compiler.encode())
    for path in [*sorted(_SOURCES.glob("*.h")), *sources, *libraries]:
        digest.update(path.read_bytes())
    folder = cache_folder() / f"runner-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        include = installed_folder("tvm_ffi").parent / "include"
        with replacing(folder) as new:
            command = [compiler, "-std=c++17", "-O2", "-s", "-isystem", str(include), *map(str, sources)]
            # The program finds the libraries' functions by name, so the linker must not drop any library.
            command += ["-Wl,--no-as-needed", *map(str, libraries), "-Wl,-rpath,$ORIGIN"]
            call([*command, "-o", str(new / RUNNER)], f"cannot build {RUNNER}")
    return folder / RUNNER
