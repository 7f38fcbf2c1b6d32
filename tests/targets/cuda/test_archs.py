"""Names of GPU architectures, and the GPU that is there."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.targets.cuda import archs, driver
from tvmq.targets.cuda.archs import arch_here, capability, check_arch


@pytest.mark.parametrize(("arch", "expected"), [("sm_61", 61), ("sm_90a", 90), ("sm_120", 120), ("80", 0)])
def test_capability(arch, expected):
    assert capability(arch) == expected


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("80", "GPU architecture '80' must have the form sm_XX, such as sm_80"),
        ("compute_86", "GPU architecture 'compute_86' must have the form sm_XX, such as sm_86"),
        ("true", "GPU architecture 'true' must have the form sm_XX, such as sm_80"),
        ("sm_86a", "unknown GPU architecture 'sm_86a'; did you mean 'sm_86'"),
        ("sm_999", "unknown GPU architecture 'sm_999'"),
    ],
)
def test_what_is_none(arch, message):
    with pytest.raises(TvmqError, match=message):
        check_arch(arch)


def test_the_first_gpu_is_the_one_here(monkeypatch):
    monkeypatch.setattr(archs, "capabilities_by_program", lambda: [89, 75])
    assert arch_here() == "sm_89"


def test_no_gpu_here(monkeypatch):
    monkeypatch.setattr(archs, "capabilities_by_program", lambda: [])
    with pytest.raises(TvmqError, match="there is none .* name the architecture, as in 'cuda -arch=sm_86'"):
        arch_here()


def test_there_is_no_gpu_without_a_driver(monkeypatch):
    monkeypatch.setattr(driver, "_LIBRARY", "libcuda.so.0")
    assert driver.capabilities() == []


def test_the_program_says_what_the_driver_says():
    assert driver.capabilities_by_program() == driver.capabilities()
