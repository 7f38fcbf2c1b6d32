"""Targets of a GPU: each form that a user may type, its host, its row, and what is refused."""

from __future__ import annotations

import pytest
from tvm.target import Target

from tvmq.errors import TvmqError
from tvmq.targets import parse
from tvmq.targets.features import (
    arch_of,
    capability_of,
    cpu_of,
    describe,
    features_of,
    row_of,
    threads_of,
    triple_of,
)
from tvmq.targets.host import architecture
from tvmq.targets.parse import parse_target

A78 = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a78ae"


@pytest.mark.parametrize(
    "spec",
    [
        "cuda -arch=sm_86",
        "cuda -arch sm_86",
        {"kind": "cuda", "arch": "sm_86"},
        '{"kind": "cuda", "arch": "sm_86"}',
        "nvidia/geforce-rtx-3090",
        Target({"kind": "cuda", "arch": "sm_86"}),
    ],
)
def test_forms_of_one_target(spec):
    target = parse_target(spec)
    assert describe(target) == "cuda -arch=sm_86"
    assert capability_of(target) == 86
    assert row_of(target).name == "sm_86"
    assert str(parse_target(target)) == str(target)


def test_a_host_that_is_not_named_is_this_machine():
    target = parse_target("cuda -arch=sm_80")
    assert str(target.host) == str(parse_target("llvm"))
    assert arch_of(target) == architecture()


def test_what_asks_for_a_cpu_gets_the_hosts():
    target = parse_target(f"cuda -arch=sm_87 -host='{A78} -num-cores=6'")
    cpu = parse_target(f"{A78} -num-cores=6")
    assert str(cpu_of(target)) == str(cpu)
    assert (arch_of(target), triple_of(target)) == ("aarch64", "aarch64-linux-gnu")
    assert (threads_of(target), features_of(target)) == (6, features_of(cpu))
    assert describe(target) == f"cuda -arch=sm_87 -host='{A78} -num-cores=6'"


def test_a_boards_tag_names_its_host():
    target = parse_target("nvidia/jetson-agx-orin-64gb")
    assert (describe(target.host), capability_of(target)) == (
        "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a78 -num-cores=12",
        87,
    )


def test_overrides_go_to_the_gpu_or_to_its_host():
    target = parse_target("cuda -arch=sm_86", arch="sm_75", mcpu="znver3", mtriple="x86_64-linux-gnu")
    assert (capability_of(target), target.host.attrs["mcpu"]) == (75, "znver3")
    with pytest.raises(TvmqError, match=r"\(arch\) has no effect on the target 'llvm', only on 'cuda'"):
        parse_target("llvm", arch="sm_80")


def test_plain_cuda_is_the_gpu_here(monkeypatch):
    monkeypatch.setattr(parse, "arch_here", lambda: "sm_89")
    assert describe(parse_target("cuda")) == "cuda -arch=sm_89"


@pytest.mark.parametrize(
    ("arch", "row"),
    [
        ("sm_61", "sm_61"),
        ("sm_72", "sm_70"),
        ("sm_87", "sm_86"),
        ("sm_90a", "sm_90a"),
        ("sm_90", "sm_90"),
        ("sm_100", "sm_90"),
    ],
)
def test_row_of_an_architecture(arch, row):
    assert row_of(parse_target(f"cuda -arch={arch}")).name == row


def test_a_gpu_without_dot_products_has_no_row():
    with pytest.raises(
        TvmqError, match="GPUs of sm_53 have no dot product of 8-bit integers; possible: sm_61"
    ):
        row_of(parse_target("cuda -arch=sm_53"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cuda -arch=80", "GPU architecture '80' must have the form sm_XX, such as sm_80"),
        ("cuda -arch=sm_999", "unknown GPU architecture 'sm_999'"),
        ("cuda -arhc=sm_80", "unknown attribute of target cuda 'arhc'; did you mean 'arch'"),
        (
            f"cuda -arch=sm_80 -host={A78}",
            "'mcpu' is of the GPU's host: say \"-host='llvm -mcpu=...'\"",
        ),
        ("cuda -arch=sm_80 -host=cuda", "the host of a GPU must be a CPU, of kind llvm; got 'cuda'"),
        ("cuda -arch=sm_80 -host=llvn", "host of the target: unknown target kind, tag or file 'llvn'"),
        ("cuda -arch=sm_80 -host='llvm -mcpu=znver33'", r"unknown CPU \(-mcpu\)"),
        ("nvidia/geforce-rtx-309", "did you mean 'nvidia/geforce-rtx-3090'"),
    ],
)
def test_what_is_refused(spec, message):
    with pytest.raises(TvmqError, match=message) as caught:
        parse_target(spec)
    assert "\n" not in str(caught.value)
