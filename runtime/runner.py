"""Building what runs packages where there is no Python: the library ``libtvmq.so`` and programs that link it.

cpp/tvmq.cc, machine.cc, gpu.cc    --> libtvmq.so, which applications link; its header is cpp/tvmq.h
cpp/run.cc, npy.cc                 --> tvmq-run, which runs a package
cpp/rpc.cc, socket.cc, tracker.cc  --> tvmq-rpc, which lends the board to tvmc run and tvmc tune
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from .libraries import cache_folder, call, installed_folder, replacing

RUNNER, SERVER, LIBRARY = "tvmq-run", "tvmq-rpc", "libtvmq.so"
_TEXTS = ("tvmq.h", "README.txt")
_CODE = {
    LIBRARY: ("tvmq.cc", "machine.cc", "gpu.cc"),
    RUNNER: ("run.cc", "npy.cc"),
    SERVER: ("rpc.cc", "socket.cc", "tracker.cc"),
}
_SOURCES = Path(__file__).parent / "cpp"
_SHARED = f"-shared -fPIC -Wl,-soname,{LIBRARY} -Wl,--no-as-needed".split()
"""Options for the library. It finds functions of TVM's by name, so the linker must not drop a library that it needs."""


def build_runner(compiler: Sequence[str], libraries: Sequence[Path]) -> list[Path]:
    """Return the paths of the library, the programs, the library's header and what to do with all of them.

    They are built once for the same sources, libraries and compiler.

    Parameters
    ----------
    compiler : command of a C++17 compiler for the board's architecture, such as ``("aarch64-linux-gnu-g++",)``.
    libraries : TVM's runtime libraries for it; programs and library look for them in their own folder.

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
        # A compiler that is called gcc links no libraries of C++ by itself.
        used = [*map(str, libraries), "-lstdc++", "-lm", "-ldl"]
        with replacing(folder) as new:
            for name in _TEXTS:
                shutil.copy(_SOURCES / name, new)
            for name, files in _CODE.items():
                sources = [str(_SOURCES / file) for file in files]
                kind = _SHARED if name == LIBRARY else [str(new / LIBRARY)]
                command = [*common, *headers, *sources, *kind, *used, "-o", str(new / name)]
                call(command, f"cannot build {name}")
    return [folder / name for name in (*_CODE, *_TEXTS)]
