"""The GPU architectures that a model's kernels are compiled for: the target's, or those that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace

from tvm.target import Target

from ...errors import TvmqError
from ...targets.cuda.archs import capability, check_arch
from ...targets.features import is_gpu, row_of_gpu
from ...targets.row import TargetRow
from . import nvcc

ARCHS: ContextVar[tuple[str, ...]] = ContextVar("tvmq.cuda_archs", default=())
"""What ``CompileOptions.cuda_archs`` says while a model is compiled; none is the target's own."""


def archs_of(target: Target, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the architectures that kernels for a GPU are compiled for, the least capable first."""
    archs = tuple(named) or ARCHS.get() or (str(target.attrs["arch"]),)
    return tuple(sorted(archs, key=lambda arch: (capability(arch), arch)))


def check_cuda_archs(target: Target, named: Sequence[str]) -> None:
    """Raise ``TvmqError`` where code for these architectures cannot be made: another target, less than it has, no nvcc.

    Parameters
    ----------
    named : of ``CompileOptions.cuda_archs``.
    """
    if not is_gpu(target):
        if named:
            raise TvmqError(
                f"GPU architectures (cuda_archs) have no effect on the target {str(target.kind.name)!r}"
            )
        return
    for arch in named:
        check_arch(arch)
    least = row_of_gpu(str(target.attrs["arch"])).gpu.capability
    for arch in named:
        if capability(arch) < least:
            raise TvmqError(
                f"kernels for {target.attrs['arch']} use what {arch} lacks: the target is to be the least capable, "
                f"'cuda -arch={arch}'"
            )
    nvcc.check_archs(archs_of(target, named))


def common_row(row: TargetRow, named: Sequence[str]) -> TargetRow:
    """Return a GPU's row with what all these architectures have: their matrix products and their shared memory."""
    gpus = [row_of_gpu(arch).gpu for arch in named]
    if not gpus:
        return row
    common = replace(
        row.gpu,
        matrix_bits=tuple(
            bits for bits in row.gpu.matrix_bits if all(bits in gpu.matrix_bits for gpu in gpus)
        ),
        block_bytes=min(row.gpu.block_bytes, *(gpu.block_bytes for gpu in gpus)),
        shared_bytes=min(row.gpu.shared_bytes, *(gpu.shared_bytes for gpu in gpus)),
        threads=min(row.gpu.threads, *(gpu.threads for gpu in gpus)),
        warpgroups=all(gpu.warpgroups for gpu in (row.gpu, *gpus)),
    )
    return replace(row, gpu=common)
