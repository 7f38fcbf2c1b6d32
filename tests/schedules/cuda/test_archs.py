"""Which architectures a model is compiled for, and what its kernels may use then."""

from __future__ import annotations

import pytest

from tvmq import CompileOptions
from tvmq.errors import TvmqError
from tvmq.schedules.context import pass_context
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.cuda.archs import archs_of, check_cuda_archs, common_row
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

AMPERE = parse_target("cuda -arch=sm_80")


def test_the_targets_own_or_those_that_are_named():
    assert archs_of(AMPERE) == ("sm_80",)
    with pass_context(CompileOptions(cuda_archs=("sm_90", "sm_86", "sm_90"))):
        assert archs_of(AMPERE) == ("sm_86", "sm_90")
    assert archs_of(AMPERE) == ("sm_80",)


def test_kernels_use_what_all_have():
    row = row_of(AMPERE)
    assert common_row(row, ()) == row
    gpu = common_row(row, ("sm_80", "sm_86", "sm_90")).gpu
    assert (gpu.capability, gpu.matrix_bits, gpu.block_bytes) == (80, (8,), 99 << 10)


def test_one_that_has_less_than_the_target(monkeypatch):
    monkeypatch.setattr(nvcc, "check_archs", lambda archs: None)
    check_cuda_archs(parse_target("cuda -arch=sm_87"), ("sm_86",))
    with pytest.raises(TvmqError, match="kernels for sm_80 use what sm_75 lacks: .* 'cuda -arch=sm_75'"):
        check_cuda_archs(AMPERE, ("sm_75", "sm_80"))


def test_a_cpu_has_none():
    check_cuda_archs(parse_target("llvm"), ())
    with pytest.raises(TvmqError, match=r"\(cuda_archs\) have no effect on the target 'llvm'"):
        check_cuda_archs(parse_target("llvm"), ("sm_80",))


@pytest.mark.parametrize(
    ("archs", "message"),
    [
        ("sm_80", "cuda_archs must be a sequence of architectures, not one string"),
        (("sm_80", "90"), "GPU architecture '90' must have the form sm_XX, such as sm_90"),
    ],
)
def test_options_that_are_refused(archs, message):
    with pytest.raises(TvmqError, match=message):
        CompileOptions(cuda_archs=archs)
