"""The GPU that tests run kernels on: the machine's own, or the emulated one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import tvm_ffi

from tvmq.schedules.cuda import nvcc

from . import emulated_gpu


def is_real() -> bool:
    """Tell whether TVM found a GPU of the machine's own."""
    import tvm

    loader = tvm_ffi.get_global_func("device_api.cuda", allow_missing=True)
    return loader is not None and not emulated_gpu.load.cache_info().currsize and tvm.cuda(0).exist


def real_capability() -> int:
    """Return ten times the compute capability of the machine's own GPU."""
    import tvm

    return round(10 * float(tvm.cuda(0).compute_version))


def arch_for(arch: str) -> str:
    """Return what the kernels of a row are compiled for: its own architecture, or all that the machine's GPU has."""
    if not is_real():
        return arch
    return "sm_90a" if real_capability() == 90 else f"sm_{real_capability()}"


@contextmanager
def gpu(capability: int = 80) -> Iterator[None]:
    """Give TVM a device ``cuda``, and compile kernels for it.

    Parameters
    ----------
    capability : ten times the compute capability that the kernels need; the emulated GPU has just that.
    """
    if is_real():
        if real_capability() < capability or (capability == 90 and real_capability() != 90):
            pytest.skip(f"this machine's GPU is of {real_capability()}, not of {capability}")
        yield
        return
    emulated_gpu.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(emulated_gpu.CAPABILITY, f"{capability // 10}.{capability % 10}")
        patch.setattr(nvcc, "compile_source", lambda source, archs: emulated_gpu.compile_source(source))
        yield
