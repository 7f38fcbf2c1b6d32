"""What an installed tvmq holds: every folder of modules must be listed in pyproject.toml by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Folders of the repository that are no part of the package.
APART = {"tests", "examples", "docs", "scripts", "build", "dist"}


def listed_packages() -> list[str]:
    """The packages of pyproject.toml; read as text, because Python 3.10 has no TOML reader."""
    block = re.search(r"^packages = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.S | re.M)
    assert block
    return re.findall(r'"([\w.]+)"', block[1])


def package_files() -> set[str]:
    """The Python files on disk that belong to the package, as paths inside a wheel."""
    files = set()
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in APART and not any(part.startswith(".") for part in parts):
            files.add("/".join(("tvmq", *parts)))
    return files


def test_packages_are_the_folders_on_disk():
    folders = {str(Path(name).parent).replace("/", ".") for name in package_files()}
    assert listed_packages() == sorted(folders)


def test_each_package_has_its_init_file():
    for name in listed_packages():
        assert (ROOT / Path(*name.split(".")[1:]) / "__init__.py").is_file(), name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from a copy, so that the build leaves nothing behind here."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".*", "tests", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder,
        folder / "source",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("tvmq-*.whl")
    with zipfile.ZipFile(path) as content:
        return set(content.namelist())


def test_the_wheel_holds_every_module(wheel):
    assert {name for name in wheel if name.endswith(".py")} == package_files()


def test_the_wheel_holds_the_other_files(wheel):
    sources = {f"tvmq/runtime/cpp/{path.name}" for path in (ROOT / "runtime/cpp").glob("[!.]*")}
    assert len(sources) == 15
    assert wheel >= sources | {"tvmq/py.typed", "tvmq/targets/cuda/device.cuh"}
