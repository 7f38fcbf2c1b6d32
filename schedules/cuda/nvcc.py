"""NVIDIA's compiler: CUDA source --> machine code of each architecture that is asked for, in one file (a fat binary).

It is found as ``$CUDACXX``, on the ``PATH``, in ``/usr/local/cuda*``, and in the wheels of ``tvmq[cuda]``.
Products of floats are neither contracted nor made fast: the results are those that NumPy gives.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import TvmqError
from ...targets import cuda
from ...targets.cuda.archs import capability
from ...targets.cuda.wheels import wheel_folders

FLAGS = ("-O3", "-std=c++17", "--fmad=false", "-w")

HEADER = Path(cuda.__file__).with_name("device.cuh")
"""The functions that kernels call; it is included in front of every source."""

ALIGNED = ("extern __shared__ __align__(64)", "extern __shared__ __align__(1024)")
"""How TVM declares a block's shared memory, and how it is to be: ``wgmma`` exchanges pieces by their addresses."""

_TOOLKITS = Path("/usr/local")
_BOTH_WAYS = 'install NVIDIA\'s CUDA toolkit, or pip install "tvmq[cuda]"'


def find_nvcc() -> str:
    """Return the path of the compiler.

    Raises
    ------
    TvmqError : there is none, or ``$CUDACXX`` names none.
    """
    named = os.environ.get("CUDACXX")
    if named:
        found = shutil.which(named)
        if found is None:
            raise TvmqError(f"CUDACXX names {named!r}, which is no program")
        return found
    for candidate in _candidates():
        if candidate is not None and shutil.which(candidate):
            return candidate
    raise TvmqError(
        f"compiling for a GPU needs nvcc, and there is none: {_BOTH_WAYS}; or set CUDACXX to its path"
    )


def _candidates() -> Iterator[str | None]:
    yield shutil.which("nvcc")
    yield from map(str, sorted(_TOOLKITS.glob("cuda*/bin/nvcc"), reverse=True))
    for folder in wheel_folders():
        yield from map(str, sorted(folder.glob("c*/bin/nvcc"), reverse=True))


@functools.cache
def known_archs(nvcc: str) -> tuple[int, ...]:
    """Return the capabilities that a compiler makes code for, ascending; raise ``TvmqError`` where it does not say."""
    names = re.findall(r"^sm_(\d+)$", _run([nvcc, "--list-gpu-code"], f"{nvcc} does not run"), re.MULTILINE)
    if not names:
        raise TvmqError(f"{nvcc} does not say what GPUs it compiles for (--list-gpu-code)")
    return tuple(sorted(map(int, names)))


def check_archs(archs: Sequence[str]) -> None:
    """Raise ``TvmqError`` unless there is a compiler, and it makes code for all the architectures."""
    nvcc = find_nvcc()
    known = known_archs(nvcc)
    for arch in archs:
        if capability(arch) in known:
            continue
        remedy = "CUDA 12" if capability(arch) < known[0] else "a newer CUDA"
        raise TvmqError(
            f"nvcc {_version(nvcc)} compiles for sm_{known[0]} to sm_{known[-1]}, not for {arch}: install {remedy}"
        )


def compile_source(source: str, archs: Sequence[str]) -> bytes:
    """Return a fat binary: code of each architecture, and PTX of the latest, which drivers compile for later GPUs.

    The same source, architectures and compiler give the same bytes.

    Raises
    ------
    TvmqError : there is no compiler; it fails, with its first error.
    """
    nvcc = find_nvcc()
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        (Path(folder) / "kernels.cu").write_text(source.replace(*ALIGNED))
        command = [nvcc, *FLAGS, *code_flags(archs), "-include", str(HEADER)]
        command += ["-fatbin", "-o", "kernels.fatbin", "kernels.cu"]
        _run(command, "nvcc cannot compile the kernels", folder)
        output = Path(folder) / "kernels.fatbin"
        if not output.is_file():
            raise TvmqError(f"{nvcc} succeeds and writes no file")
        return output.read_bytes()


def code_flags(archs: Sequence[str]) -> list[str]:
    """Return the flags for code of these architectures, and for PTX of the latest that all later ones run."""
    names = [arch.removeprefix("sm_") for arch in archs]
    flags = [f"-gencode=arch=compute_{name},code=sm_{name}" for name in names]
    latest = ptx_of(archs)
    return [*flags, f"-gencode=arch=compute_{latest},code=compute_{latest}"] if latest else flags


def ptx_of(archs: Sequence[str]) -> int:
    """Return the capability whose PTX a fat binary has; 0 where all its code is of one chip alone, as of ``sm_90a``."""
    return max((capability(arch) for arch in archs if arch[-1].isdigit()), default=0)


def _version(nvcc: str) -> str:
    match = re.search(r"release (\d+\.\d+)", _run([nvcc, "--version"], f"{nvcc} does not run"))
    return match[1] if match else ""


def _run(command: Sequence[str], failure: str, folder: str | None = None) -> str:
    """Run a command in a folder and return what it says; raise ``TvmqError`` with its first error."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise TvmqError(f"{failure}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    raise TvmqError(f"{failure}: {_explained((telling or lines or ['unknown error'])[0])}")


def _explained(line: str) -> str:
    """Return a line of the compiler's, with what is missing where it is a part of it."""
    if re.search(r"host compiler|gcc: |g\+\+: |\bcc1plus\b", line):
        return f"{line} (nvcc needs g++)"
    part = re.search(
        r"(cuda\w*\.h|nv/target|crt/\w+\.h|cicc|libdevice|ptxas|fatbinary)\b.*[Nn]o such file", line
    )
    part = part or re.search(
        r"[Nn]o such file.*(cicc|ptxas|fatbinary|libdevice)|(cicc|ptxas): not found", line
    )
    return f"{line} (a part of CUDA is missing: {_BOTH_WAYS})" if part else line
