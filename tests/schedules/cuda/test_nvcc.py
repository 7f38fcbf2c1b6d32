"""NVIDIA's compiler: where it is found, what it is asked for, and what it cannot do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tvmq.errors import TvmqError
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.cuda.nvcc import check_archs, code_flags, compile_source, find_nvcc

SOURCE = """
extern "C" __global__ void dot(const void* a, const void* b, int* c) { *c = tvmq_dp4a_s8s8(a, b, *c); }
"""


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def compiler(monkeypatch) -> str:
    """The path of the compiler; the test is skipped where there is none."""
    try:
        return find_nvcc()
    except TvmqError as error:
        pytest.skip(str(error))


@pytest.fixture
def knows(monkeypatch, tmp_path):
    """A compiler of CUDA 13 for sm_75 to sm_90."""
    script = "case $1 in --version) echo 'tools, release 13.0, V13.0.88';; *) echo sm_75; echo sm_90; echo sm_80;; esac"
    monkeypatch.setenv("CUDACXX", str(program(tmp_path / "nvcc", script)))


def test_the_one_that_is_named(monkeypatch, tmp_path):
    path = program(tmp_path / "my nvcc", "exit 0")
    monkeypatch.setenv("CUDACXX", str(path))
    assert find_nvcc() == str(path)
    monkeypatch.setenv("CUDACXX", "no-such-nvcc")
    with pytest.raises(TvmqError, match="CUDACXX names 'no-such-nvcc', which is no program"):
        find_nvcc()


def test_that_of_the_wheel(monkeypatch, tmp_path):
    """There is no other; the wheels' folder has no ``__init__.py``."""
    path = program(tmp_path / "nvidia" / "cu13" / "bin" / "nvcc", "exit 0")
    monkeypatch.delenv("CUDACXX", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(nvcc, "_TOOLKITS", tmp_path / "none")
    monkeypatch.setattr(nvcc, "wheel_folders", lambda: [tmp_path / "nvidia"])
    assert find_nvcc() == str(path)
    path.unlink()
    with pytest.raises(
        TvmqError, match=r"needs nvcc, and there is none: install .* pip install \"tvmq\[cuda\]\""
    ):
        find_nvcc()


def test_architectures_that_it_does_not_know(knows):
    check_archs(["sm_75", "sm_90a"])
    with pytest.raises(
        TvmqError, match="nvcc 13.0 compiles for sm_75 to sm_90, not for sm_61: install CUDA 12"
    ):
        check_archs(["sm_80", "sm_61"])
    with pytest.raises(TvmqError, match="not for sm_120: install a newer CUDA"):
        check_archs(["sm_120"])


def test_what_is_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDACXX", str(program(tmp_path / "silent", "exit 0")))
    with pytest.raises(TvmqError, match="does not say what GPUs it compiles for"):
        check_archs(["sm_80"])
    with pytest.raises(TvmqError, match="succeeds and writes no file"):
        compile_source("", ["sm_80"])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("k.cu(1): error: identifier x is undefined", "cannot compile the kernels: k.cu.* is undefined$"),
        (
            "fatal error: cuda_fp16.h: No such file",
            r"a part of CUDA is missing: install .* \"tvmq\[cuda\]\"\)",
        ),
        ("fatal error: nv/target: No such file", "a part of CUDA is missing"),
        ("sh: 1: cicc: not found", "a part of CUDA is missing"),
        ("nvcc fatal : Failed to preprocess host compiler properties.", r"\(nvcc needs g\+\+\)"),
        ("", "cannot compile the kernels: unknown error"),
    ],
)
def test_what_it_fails_with(monkeypatch, tmp_path, said, message):
    monkeypatch.setenv("CUDACXX", str(program(tmp_path / "nvcc", f"echo '{said}' >&2; exit 1")))
    with pytest.raises(TvmqError, match=message) as caught:
        compile_source("", ["sm_80"])
    assert "\n" not in str(caught.value)


def test_code_for_each_and_ptx_of_the_last():
    assert code_flags(["sm_90a", "sm_80"]) == [
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_80,code=compute_80",
    ]
    assert code_flags(["sm_90a"]) == ["-gencode=arch=compute_90a,code=sm_90a"]  # code of one chip alone


def test_it_compiles_the_same_bytes_with_the_header(compiler):
    code = compile_source(SOURCE, ["sm_80"])
    assert code == compile_source(SOURCE, ["sm_80"])
    assert code[:4] == b"\x50\xed\x55\xba"  # a fat binary
    assert b"--fmad false" in code
    with pytest.raises(
        TvmqError, match=r"cannot compile the kernels: kernels.cu\(1\): error: .*\"y\" is undefined"
    ):
        compile_source("int x = y;", ["sm_80"])
