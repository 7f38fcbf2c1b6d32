"""Packages of the small model of ``models.py``, and other machines to run them on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tvmq.runtime.package import Package
from tvmq.targets import host

from .models import HOST, package, parallel_package


@pytest.fixture(scope="session")
def built() -> Package:
    """The model for this machine."""
    return package(HOST)


@pytest.fixture(scope="session")
def parallel_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the model whose kernel runs on two cores."""
    path = tmp_path_factory.mktemp("parallel") / "model.tar"
    parallel_package().export(path)
    return path


@pytest.fixture
def package_path(built: Package, tmp_path: Path) -> Path:
    """A file of the model for this machine."""
    path = tmp_path / "model.tar"
    built.export(path)
    return path


@pytest.fixture
def as_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Function that makes this machine look like another: its architecture and its /proc/cpuinfo."""

    def pretend(machine: str, cpuinfo: str) -> None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
        monkeypatch.setattr(host, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(host.platform, "machine", lambda: machine)

    return pretend
