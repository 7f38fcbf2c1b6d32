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


def arch_for(capability: int) -> str:
    """Return what kernels for a capability are compiled for: the GPU of this machine has kernels of all up to its own.

    Skips the test where it has not.
    """
    if not is_real():
        return f"sm_{capability}"
    import tvm

    own = round(10 * float(tvm.cuda(0).compute_version))
    if capability > own:
        pytest.skip(f"this machine's GPU is sm_{own}")
    return f"sm_{own}"


@contextmanager
def gpu() -> Iterator[None]:
    """Give TVM a device ``cuda``, and compile kernels for it."""
    if is_real():
        yield
        return
    emulated_gpu.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nvcc, "compile_source", lambda source, archs: emulated_gpu.compile_source(source))
        yield
