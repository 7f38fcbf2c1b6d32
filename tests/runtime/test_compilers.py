"""Which compiler links for a target; programs that only say what they are stand for those that are not installed."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.runtime.compilers import gnu_triple, linker_for
from tvmq.targets import host

ARM64 = "aarch64-linux-gnu"


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Function ``(name, machine, links=True)`` that installs a compiler, beside which there is no other."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("CXX", "CC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")

    def install(name, machine="", links=True):
        script = f"""#!/bin/sh
case "$*" in *-dumpmachine) echo {machine} ;; *) exit {0 if links else 1} ;; esac
"""
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)

    return install


@pytest.mark.parametrize(
    ("triple", "gnu"),
    [
        ("aarch64", "aarch64-linux-gnu"),
        ("arm64-linux", "aarch64-linux-gnu"),
        ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu"),
        ("aarch64-linux-musl", "aarch64-linux-musl"),
        ("armv7a-linux-gnueabihf", "arm-linux-gnueabihf"),
        ("x86_64-linux-gnu", "x86_64-linux-gnu"),
        ("arm", "arm-linux-gnueabihf"),
        ("arm64-linux-android", ""),
        ("arm64-apple-macos", ""),
    ],
)
def test_names_of_compilers(triple, gnu):
    assert gnu_triple(triple) == gnu


def test_the_usual_compiler_is_found_by_the_triple(install):
    install("g++")
    install("aarch64-linux-gnu-gcc")
    assert linker_for(ARM64, options=["-static-libgcc"]) == ("aarch64-linux-gnu-gcc", "-static-libgcc")
    install("aarch64-linux-gnu-g++")
    assert linker_for(ARM64) == ("aarch64-linux-gnu-g++",)
    install("arm-linux-gnueabihf-gcc")
    assert linker_for("armv7l-linux-gnueabihf") == ("arm-linux-gnueabihf-gcc",)
    assert linker_for("x86_64-linux-gnu")[0].endswith("/g++")


def test_clang_is_taken_where_it_can_link(install):
    install("clang++", links=False)
    install("clang")
    assert linker_for(ARM64) == ("clang", f"--target={ARM64}")
    install("ld.lld")
    assert linker_for(ARM64) == ("clang", f"--target={ARM64}", "-fuse-ld=lld")


@pytest.mark.parametrize(
    ("triple", "message"),
    [
        (
            ARM64,
            "linking for aarch64 needs a cross compiler, such as aarch64-linux-gnu-g++: install it "
            "(Debian's package g++-aarch64-linux-gnu), or name yours with --cross-compiler",
        ),
        ("armv7a-linux-gnueabihf", "(Debian's package g++-arm-linux-gnueabihf)"),
        ("aarch64-linux-musl", "such as aarch64-linux-musl-g++: install it, or name yours"),
        ("arm64-apple-macos", "there is no usual compiler for arm64-apple-macos: name yours"),
    ],
)
def test_no_compiler(install, triple, message):
    install("clang", links=False)
    with pytest.raises(TvmqError) as caught:
        linker_for(triple)
    assert message in str(caught.value)


def test_no_compiler_of_the_machine_s_own(install):
    with pytest.raises(TvmqError, match=r"no C\+\+ compiler found to link mod.so: install g\+\+"):
        linker_for("x86_64")


def test_a_compiler_that_the_user_names(install):
    install("mine", "aarch64-none-linux-gnu")
    install("silent")
    install("other", "x86_64-linux-gnu")
    assert linker_for(ARM64, "mine", ["-O2"]) == ("mine", "-O2")
    assert linker_for(ARM64, "silent") == ("silent",)
    with pytest.raises(
        TvmqError, match="cross compiler 'other' compiles for x86_64, and the target is aarch64"
    ):
        linker_for(ARM64, "other")
    with pytest.raises(TvmqError, match="cross compiler 'absent' is not on the PATH"):
        linker_for(ARM64, "absent")


def test_a_compiler_of_the_environment_that_is_not_there(install, monkeypatch):
    monkeypatch.setenv("CXX", "absent")
    with pytest.raises(TvmqError, match=r"C\+\+ compiler 'absent' is not on the PATH"):
        linker_for("x86_64")
