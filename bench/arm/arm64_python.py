"""A Python for arm64 with the peers' wheels, which runs under QEMU: Debian's packages and pip's, unpacked and kept."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ...errors import TvmqError
from ...runtime.libraries import cache_folder, call, replacing

VERSION = "3.11"
"""Debian 12's."""
_PACKAGES = (
    *(f"python{VERSION}-minimal", f"libpython{VERSION}-minimal", f"libpython{VERSION}-stdlib"),
    *"zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 libuuid1".split(),
)
_PLATFORMS = tuple(f"manylinux_{glibc}_aarch64" for glibc in ("2_28", "2_27", "2_17"))


def interpreter() -> tuple[Path, dict[str, str]]:
    """Return Python's program and the environment that it needs, downloaded once.

    Raises
    ------
    TvmqError : this is no Debian, or the download fails.
    """
    folder = cache_folder() / f"arm64-python{VERSION}"
    if not folder.is_dir():
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise TvmqError(
                    f"{tool} is not installed: the peers' arm64 Python comes from Debian's packages"
                )
        with replacing(folder) as new:
            _download(new)
    libraries = ":".join(str(folder / lib / "aarch64-linux-gnu") for lib in ("usr/lib", "lib"))
    environment = {"LD_LIBRARY_PATH": libraries, "PYTHONHOME": str(folder / "usr"), "PYTHONHASHSEED": "0"}
    return folder / "usr" / "bin" / f"python{VERSION}", environment


def _download(folder: Path) -> None:
    """Unpack the packages into the folder; apt works on lists of its own, so the machine's architectures stay."""
    state, debs = folder / "apt", folder / "apt" / "debs"
    for needed in (debs, state / "lists" / "partial", state / "cache" / "archives" / "partial"):
        needed.mkdir(parents=True)
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": "/dev/null",
        "Dir::Cache": str(state / "cache"),
    }
    apt = ["apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in settings.items())]
    call([*apt, "update"], "cannot read Debian's lists of arm64 packages")
    # It downloads into the working directory.
    download = ["sh", "-c", 'cd "$0" && exec "$@"', str(debs), *apt, "download", *_PACKAGES]
    call(download, f"cannot download Debian's arm64 Python {VERSION}")
    for deb in debs.iterdir():
        call(["dpkg-deb", "--extract", str(deb), str(folder)], f"cannot unpack {deb.name}")
    shutil.rmtree(state)


def wheels(requirements: Iterable[str]) -> Path:
    """Return a folder with packages for that Python, such as ``numpy==2.4.6``, without what they depend on.

    Raises
    ------
    TvmqError : there is no such package for arm64, or the download fails.
    """
    requirements = sorted(requirements)
    folder = cache_folder() / f"arm64-{'-'.join(requirements).replace('==', '-')}"
    if not folder.is_dir():
        with replacing(folder) as new:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(new)]
            command += ["--only-binary=:all:", f"--python-version={VERSION}"]
            command += [f"--platform={platform}" for platform in _PLATFORMS]
            call([*command, *requirements], f"cannot download arm64 packages {' '.join(requirements)}")
    return folder
