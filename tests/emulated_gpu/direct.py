"""Kernels of CUDA source, launched on the emulated GPU without TVM: `launch(code, block=32, arrays=[a, out])`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from . import compile_source, library

MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        *((name, ctypes.c_uint) for name in ("gx", "gy", "gz", "bx", "by", "bz", "shared")),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    ]


class CudaError(Exception):
    """The emulator's text."""


def _check(code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        library().cuGetErrorString(code, ctypes.byref(text))
        raise CudaError((text.value or b"").decode())


def _three(sizes: int | Sequence[int]) -> list[int]:
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    return sizes + [1] * (3 - len(sizes))


def launch(
    code: str,
    arrays: Sequence[np.ndarray] = (),
    grid: int | Sequence[int] = 1,
    block: int | Sequence[int] = 32,
    shared: int = 0,
) -> None:
    """Runs the kernel `k` of the code; its parameters are addresses of the arrays, which it may change.

    Raises CudaError.
    """
    gpu = library()
    image = compile_source(code)
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _check(gpu.cuModuleLoadData(ctypes.byref(module), image))
    memory = [ctypes.c_void_p() for _ in arrays]
    try:
        _check(gpu.cuModuleGetFunction(ctypes.byref(function), module, b"k"))
        for address, array in zip(memory, arrays, strict=True):
            assert array.flags.c_contiguous
            _check(gpu.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(array.nbytes)))
            _check(
                gpu.cudaMemcpyAsync(
                    address, array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes), 1, None
                )
            )
        if shared > 48 << 10:
            _check(gpu.cuFuncSetAttribute(function, MAX_DYNAMIC_SHARED, shared))
        pointers = (ctypes.c_void_p * len(memory))(*(ctypes.addressof(address) for address in memory))
        config = LaunchConfig(*_three(grid), *_three(block), shared, None, None, 0)
        _check(gpu.cuLaunchKernelEx(ctypes.byref(config), function, pointers, None))
        for address, array in zip(memory, arrays, strict=True):
            _check(
                gpu.cudaMemcpyAsync(
                    array.ctypes.data_as(ctypes.c_void_p), address, ctypes.c_size_t(array.nbytes), 2, None
                )
            )
    finally:
        for address in memory:
            gpu.cudaFree(address)
        gpu.cuModuleUnload(module)


def kernel(parameters: str, body: str, threads: int = 1024) -> str:
    """The source of a kernel `k` as TVM writes it."""
    return f'extern "C" __global__ void __launch_bounds__({threads}) k({parameters}) {{\n{body}\n}}\n'
