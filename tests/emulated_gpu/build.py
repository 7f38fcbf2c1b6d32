"""The emulator's shared libraries and modules of kernels, made by g++ once and kept by a hash of what they are made of.

    <cache>/<hash>/programs/libcuda.so.1, libcudart.so.13      for programs: in LD_LIBRARY_PATH they are CUDA
    <cache>/<hash>/python/libtvmqrt.so.13, libtvm_runtime_cuda.so
    <cache>/headers/<hash>/kernel.h.gch                        what g++ begins with for every module
    <cache>/modules/<hash>.so                                  the kernels of one source

In a Python process the true libcudart may be loaded already, say by PyTorch, and the loader takes the first library of
a name. So there the emulator has a name of its own, and TVM's CUDA runtime is a copy that asks for that name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CPP = Path(__file__).parent / "cpp"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden"]
# Floats round as the source says: no contraction, no fast math. Integers wrap, and types share memory.
KERNEL_FLAGS = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w"]
KERNEL_FLAGS += ["-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing"]
KERNEL_FLAGS += ["-fstack-clash-protection"]  # a frame can not reach over the page that ends a stack
KERNEL_FLAGS += ["-fno-gnu-unique"]  # else the loader keeps what was unloaded, and gives it for a new module
RUNTIME = ("libcudart.so.13", "libtvmqrt.so.13")  # the true name and ours, of one length
DRIVER = ("libcuda.so.1", "libtvmq.so.1")


class BuildError(Exception):
    """g++ did not take a source; the text is what it said."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{' '.join(command[:3])} ...: {done.stderr[:8000]}")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    for folder in (
        Path(home) / "tvmq-emulated-gpu",
        Path(tempfile.gettempdir()) / f"tvmq-emulated-gpu-{os.getuid()}",
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise BuildError("no folder for the emulator's libraries can be written to")


def _key(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]


def _sources_key(tvm_runtime: Path) -> str:
    files = [path for path in sorted(CPP.rglob("*")) if path.is_file()]
    stat = tvm_runtime.stat()
    place = f"{tvm_runtime} {stat.st_size} {stat.st_mtime_ns}"
    return _key(
        *(path.name.encode() + path.read_bytes() for path in files), repr(FLAGS).encode(), place.encode()
    )


def _elf_hash(name: str) -> bytes:
    """The hash of a version's name, as ELF files store it."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value.to_bytes(4, "little")


def _renamed(library: bytes) -> bytes:
    """TVM's CUDA runtime with our names for what it needs."""
    for true, ours in (RUNTIME, DRIVER):
        library = library.replace(true.encode() + b"\0", ours.encode() + b"\0")
    return library.replace(_elf_hash(RUNTIME[0]), _elf_hash(RUNTIME[1]))


def _link(objects: list[str], folder: Path, name: str, alias: str) -> None:
    """One library with all functions; those of the CUDA runtime have the version that TVM's library asks for."""
    folder.mkdir()
    script = folder / "versions"
    script.write_text(f"{name} {{ global: cuda*; }};")
    options = [f"-Wl,-soname,{name}", f"-Wl,--version-script={script}", "-static-libstdc++", "-static-libgcc"]
    _run([COMPILER, "-shared", "-o", str(folder / name), *objects, *options, "-ldl", "-lpthread"])
    (folder / alias).symlink_to(name)


def _publish(done: Path, target: Path) -> None:
    try:
        done.rename(target)
    except OSError:  # another process was faster
        if not target.is_dir():
            raise


def build_libraries(tvm_runtime: Path) -> Path:
    """The folder with both pairs. Raises BuildError."""
    target = _cache() / _sources_key(tvm_runtime)
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as name:
        work = Path(name)
        objects = []
        for source in sorted(CPP.glob("*.cc")):
            optimize = ["-O3"] if source.stem == "matrix_products" else []
            objects.append(str(work / f"{source.stem}.o"))
            _run([COMPILER, *FLAGS, *optimize, "-c", str(source), "-o", objects[-1]])
        done = work / "done"
        done.mkdir()
        _link(objects, done / "programs", RUNTIME[0], DRIVER[0])
        _link(objects, done / "python", RUNTIME[1], DRIVER[1])
        (done / "python" / tvm_runtime.name).write_bytes(_renamed(tvm_runtime.read_bytes()))
        _publish(done, target)
    return target


def _kernel_header(headers: list[Path], key: str) -> Path:
    """A copy of kernel.h that g++ has read already: it takes three times as long over it as over most kernels."""
    target = _cache() / "headers" / key
    if target.is_dir():
        return target / "kernel.h"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as name:
        done = Path(name) / "done"
        done.mkdir()
        for path in headers:
            shutil.copy(path, done)
        header = done / "kernel.h"
        _run([COMPILER, *KERNEL_FLAGS, "-x", "c++-header", str(header), "-o", f"{header}.gch"])
        _publish(done, target)
    return target / "kernel.h"


def compile_module(source: str) -> bytes:
    """The shared object of a source that `emulated_source` made. Raises BuildError."""
    own = [CPP / "interface.h", CPP / "kernel.h"]
    paths = [*own, *sorted((CPP / "include").iterdir())]
    headers = [path.read_bytes() for path in paths]
    flags = repr(KERNEL_FLAGS).encode()
    target = _cache() / "modules" / f"{_key(source.encode(), *headers, flags)}.so"
    if target.is_file():
        return target.read_bytes()
    header = _kernel_header(own, _key(*headers[: len(own)], flags))
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as name:
        text, module = Path(name) / "module.cc", Path(name) / "module.so"
        text.write_text(source)
        options = [f"-I{CPP / 'include'}", "-include", str(header), "-Wl,-s"]
        _run([COMPILER, *KERNEL_FLAGS, *options, "-o", str(module), str(text), "-lm"])
        shutil.move(module, target)
    return target.read_bytes()
