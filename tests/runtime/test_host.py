from __future__ import annotations

import pytest

from tvmq.targets import host


@pytest.mark.parametrize(
    ("machine", "arch"),
    [
        ("x86_64", "x86_64"),
        ("AMD64", "x86_64"),
        ("arm64", "aarch64"),
        ("aarch64", "aarch64"),
        ("armv7l", "arm"),
        ("riscv64", "riscv64"),
    ],
)
def test_architecture_is_named_as_llvm_does(as_cpu, machine, arch):
    as_cpu(machine, "")
    assert host.architecture() == arch


def test_required_features_leave_out_what_code_cannot_use():
    assert host.required_features("x86_64", ["avx2", "macrofusion", "fma", "wbnoinvd"]) == ["avx2", "fma"]
    assert host.required_features("aarch64", ["neon", "a72", "dotprod"]) == ["dotprod", "neon"]
    assert host.required_features("arm", ["neon", "thumb2", "vfp4"]) == ["neon", "vfp4"]
    assert host.required_features("riscv64", ["v"]) == []


def test_missing_features_compare_llvm_names_with_linux_names(as_cpu):
    as_cpu("x86_64", "processor\t: 0\nflags\t\t: fpu pni avx2 avx512_vnni\n\nprocessor\t: 1\n")
    assert host.missing_features("x86_64", ["sse3", "avx2", "avx512vnni"]) == []
    assert host.missing_features("x86_64", ["fma", "avx2", "avxvnni"]) == ["avxvnni", "fma"]


def test_arm_lists_features_under_another_key(as_cpu):
    as_cpu("aarch64", "processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert host.missing_features("aarch64", ["neon", "dotprod", "i8mm"]) == ["i8mm"]


def test_an_emulator_that_shows_the_machine_beneath_it(as_cpu):
    as_cpu("aarch64", "processor\t: 0\nflags\t\t: fpu sse avx2\n")
    assert host.missing_features("aarch64", ["neon", "dotprod"]) == []


def test_nothing_is_missing_where_linux_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "CPUINFO", tmp_path / "absent")
    assert host.missing_features("x86_64", ["avx2"]) == []
