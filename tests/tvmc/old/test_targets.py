"""Targets as the old ``tvmc`` took them."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.old.targets import KINDS, current_target, split_flags


@pytest.mark.parametrize(
    "text",
    [
        "llvm",
        "llvm -mcpu=znver3 -mattr=+avx2,+fma",
        "llvm -libs mkl,cblas",
        '{"kind": "llvm", "mcpu": "znver3"}',
        "raspberry-pi/4b-aarch64",
        "llvn, llvm",
        'llvm -mcpu="znver3',
        "cuda",
        "mrvl",
        None,
    ],
)
def test_what_is_one_target_stays(text, caplog):
    assert current_target(text) == text
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("text", "target", "messages"),
    [
        ("mrvl, llvm", "llvm", ["mrvl: nothing is offloaded, llvm's kernels run all of it"]),
        (
            "compute-library -a=1, bnns,llvm -mattr=+a,+b",
            "llvm -mattr=+a,+b",
            ["compute-library, bnns: nothing is offloaded, llvm's kernels run all of it"],
        ),
        (
            "llvm -mcpu=a, llvm -mcpu=b",
            "llvm -mcpu=a",
            ["llvm -mcpu=b: the code around the kernels is for the same machine as they are"],
        ),
        (
            "llvm -link-params=1 --system-lib -mcpu=a",
            "llvm -mcpu=a",
            [
                "-link-params=1: weights are always in the package's library",
                "--system-lib: a package is a shared library that TVM's C++ runtime loads",
            ],
        ),
        ("opencl, clml, llvm", "opencl", []),
        ("ethos-u -accelerator_config=ethos-u55-256, cmsis-nn, c", "c", []),
        ("cuda -arch=sm_70, llvm -mcpu=a", "cuda -arch=sm_70 '-host=llvm -mcpu=a'", []),
        (
            "cudnn, cuda -arch=sm_70",
            "cuda -arch=sm_70",
            ["cudnn: nothing is offloaded, cuda's kernels run all of it"],
        ),
    ],
)
def test_several_targets(text, target, messages, caplog):
    assert current_target(text) == target
    assert caplog.messages == messages


def test_a_file_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llvm,c").write_text("llvm")
    assert current_target("llvm,c") == "llvm,c"


def test_flags_are_split_off():
    words = ["--target-mrvl-num_tiles=4", "a.onnx", "--target-aocl_sw_emu-x", "1", "--target-llvm-mcpu", "a"]
    words += [
        "--target-c-mcpu",
        "--target-host",
        "llvm",
        "--target-llvm-system-lib",
        "1",
        "--target-opencl-device",
    ]
    rest, flags = split_flags(words)
    # Each takes the word behind it, whatever that is.
    assert rest == ["a.onnx", "--target-llvm-mcpu", "a", "llvm"]
    assert flags == [
        *("--target-mrvl-num_tiles", "--target-aocl_sw_emu-x", "--target-c-mcpu", "--target-llvm-system-lib"),
        "--target-opencl-device",
    ]


def test_flags_of_a_target(caplog):
    assert current_target("mrvl, llvm", ["--target-mrvl-num_tiles"]) == "llvm"
    assert current_target("opencl, llvm", ["--target-opencl-device"]) == "opencl"
    with pytest.raises(TvmqError, match="^--target-cuda-arch has no effect without cuda in --target$"):
        current_target("llvm", ["--target-cuda-arch"])
    with pytest.raises(TvmqError, match="^--target-cuda-arch has no effect without cuda in --target$"):
        current_target(None, ["--target-cuda-arch"])
    caplog.clear()
    assert current_target("llvm", ["--target-llvm-link-params"]) == "llvm"
    assert caplog.messages == ["--target-llvm-link-params: weights are always in the package's library"]


def test_kinds_that_tvm_has_are_known():
    from tvm.target import Target

    assert set(Target.list_kinds()) & set(KINDS) >= {"llvm", "c", "cuda", "opencl", "vulkan"}
