"""Building what runs packages where there is no Python: the library ``libtvmq.so`` and the program ``tvmq-run``.

cpp/tvmq.cc and cpp/machine.cc  --> libtvmq.so, which applications link; its header is cpp/tvmq.h
cpp/run.cc and cpp/npy.cc       --> tvmq-run
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from .libraries import cache_folder, call, installed_folder, replacing

RUNNER, LIBRARY, HEADER = "tvmq-run", "libtvmq.so", "tvmq.h"
_SOURCES = Path(__file__).parent / "cpp"
_SHARED = f"-shared -fPIC -Wl,-soname,{LIBRARY} -Wl,--no-as-needed".split()
"""Options for the library. It finds functions of TVM's by name, so the linker must not drop a library that it needs."""


def build_runner(compiler: Sequence[str], libraries: Sequence[Path]) -> list[Path]:
    """Return the paths of the program, the library and its header.

    They are built once for the same sources, libraries and compiler.

    Parameters
    ----------
    compiler : command of a C++17 compiler for the board's architecture, such as ``("aarch64-linux-gnu-g++",)``.
    libraries : TVM's runtime libraries for it; the program and the library look for them in their own folder.

    Raises
    ------
    TvmqError : the compiler fails.
    """
    digest = hashlib.sha256(" ".join(compiler).encode())
    for path in [*sorted(_SOURCES.glob("*.*")), Path(__file__), *libraries]:
        digest.update(path.read_bytes())
    folder = cache_folder() / f"runner-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        common = [*compiler, "-std=c++17", "-O2", "-s", "-pthread", "-Wl,-rpath,$ORIGIN"]
        headers = ["-isystem", str(installed_folder("tvm_ffi").parent / "include")]
        used = [*map(str, libraries)]
        with replacing(folder) as new:
            shutil.copy(_SOURCES / HEADER, new)
            sources = [str(_SOURCES / name) for name in ("tvmq.cc", "machine.cc")]
            command = [*common, *headers, *_SHARED, *sources, *used]
            call([*command, "-o", str(new / LIBRARY)], f"cannot build {LIBRARY}")
            command = [*common, str(_SOURCES / "run.cc"), str(_SOURCES / "npy.cc"), str(new / LIBRARY), *used]
            call([*command, "-o", str(new / RUNNER)], f"cannot build {RUNNER}")
    return [folder / name for name in (RUNNER, LIBRARY, HEADER)]
