"""TVM's runtime libraries: those installed here, and those of another architecture.

The latter come out of the wheels that the registry has for it, of the very versions installed here, and are
kept in a cache folder.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ..errors import TvmqError
from ..targets import host

# Library -> the distribution and, inside it, the import package that hold it.
_LIBRARIES = {
    "libtvm_runtime.so": ("apache-tvm", "tvm"),
    "libtvm_runtime_extra.so": ("apache-tvm", "tvm"),
    "libtvm_ffi.so": ("apache-tvm-ffi", "tvm_ffi"),
}


_GPU_LIBRARY = "libtvm_runtime_cuda.so"  # needs CUDA's libcudart.so.13 and the driver's libcuda.so.1


def cache_folder() -> Path:
    """Return the folder for downloaded and built files: ``$XDG_CACHE_HOME/tvmq``, else ``~/.cache/tvmq``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tvmq"


def installed_folder(package: str) -> Path:
    """Return the folder of libraries of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise TvmqError(f"{package} is not installed; its runtime library runs the package")
    return Path(spec.submodule_search_locations[0]) / "lib"


def runtime_libraries(arch: str, wheel_platform: str, gpu: bool = False) -> list[Path]:
    """Return the paths of TVM's runtime libraries; downloads wheels, once, for another architecture.

    Parameters
    ----------
    arch : such as ``"aarch64"``.
    wheel_platform : the platform tag of its wheels, such as ``"manylinux_2_28_aarch64"``.
    gpu : with what runs kernels on a GPU.

    Raises
    ------
    TvmqError : the download fails, or apache-tvm is not installed.
    """
    found = _runtime_libraries(arch, wheel_platform)
    return [*found, found[0].with_name(_GPU_LIBRARY)] if gpu else found


def _runtime_libraries(arch: str, wheel_platform: str) -> list[Path]:
    """Return those that run kernels on a CPU, beside which that for GPUs lies; errors as ``runtime_libraries``."""
    if arch == host.architecture():
        return [installed_folder(package) / name for name, (_, package) in _LIBRARIES.items()]
    distributions = dict.fromkeys(distribution for distribution, _ in _LIBRARIES.values())
    pins = [f"{distribution}=={version(distribution)}" for distribution in distributions]
    folder = cache_folder() / "-".join(["libraries", arch, "gpu", *pins]).replace("==", "-")
    if not folder.is_dir():
        with replacing(folder) as new:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(new)]
            command += ["--only-binary=:all:", "--platform", wheel_platform, *pins]
            call(command, f"cannot download TVM's runtime for {arch}")
            for wheel in new.glob("*.whl"):
                _unpack(wheel, new)
                wheel.unlink()
    return [folder / name for name in _LIBRARIES]


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a new folder that becomes ``folder`` when the block succeeds: no part of one is ever seen."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=folder.parent) as scratch:
        new = Path(scratch) / folder.name
        new.mkdir()
        yield new
        try:
            os.rename(new, folder)
        except OSError:
            # Another process was faster; what it made is the same.
            if not folder.is_dir():
                raise


def call(command: Sequence[str], failure: str) -> str:
    """Run a command and return what it said; raise ``TvmqError`` with the last line of that where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        errors = [line for line in lines if "error" in line.lower()]
        raise TvmqError(f"{failure}: {(errors or lines)[-1].strip()}")
    return done.stdout


def _unpack(wheel: Path, folder: Path) -> None:
    """Put the wheel's runtime libraries into the folder."""
    with zipfile.ZipFile(wheel) as content:
        for name, (_, package) in {**_LIBRARIES, _GPU_LIBRARY: _LIBRARIES["libtvm_runtime.so"]}.items():
            member = f"{package}/lib/{name}"
            if member in content.namelist():
                (folder / name).write_bytes(content.read(member))
