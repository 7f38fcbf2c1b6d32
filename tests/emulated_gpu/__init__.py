"""A CPU that stands in for an NVIDIA GPU, so that tests run CUDA kernels exactly and find what is wrong in them.

    load()                                    TVM has a device "cuda"
    with registered():                        tvm.compile makes kernels for it
        module = tvm.compile(module, target=Target({"kind": "cuda", "arch": "sm_80"}, host="llvm"))
    with counted() as launches: ...           what the kernels did

docs/emulated-gpu.md says what is checked, and what is not.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .build import RUNTIME, BuildError, build_libraries, compile_module
from .source import emulated_source

__all__ = ["BuildError", "TrueGpu", "compile_source", "counted", "folder", "library", "load", "registered"]

CAPABILITY = "TVMQ_EMULATED_GPU_CAPABILITY"  # the environment variable: "7.5", "8.0", ...
CALLBACKS = ("tvm_callback_cuda_compile", "tvm_callback_cuda_postproc")


class TrueGpu(Exception):
    """TVM's device is one of this machine, which it took when it was imported."""


def _tvm_runtime() -> Path:
    import tvm

    return Path(tvm.__file__).parent / "lib" / "libtvm_runtime_cuda.so"


@cache
def _folder() -> Path:
    return build_libraries(_tvm_runtime())


def folder() -> Path:
    """What programs need in LD_LIBRARY_PATH to find the emulated GPU."""
    return _folder() / "programs"


@cache
def library() -> ctypes.CDLL:
    """The emulator, built where it is new; without TVM's part. Raises BuildError."""
    python = _folder() / "python"  # imports TVM, whose other libraries must be there first
    emulator = ctypes.CDLL(str(python / RUNTIME[1]))
    emulator.tvmq_emulated_statistics.restype = ctypes.c_char_p
    return emulator


@cache
def load() -> None:
    """Gives the emulator to TVM as its device "cuda". Raises BuildError, and TrueGpu."""
    import tvm_ffi

    library()
    name = str(_folder() / "python" / _tvm_runtime().name)
    try:
        ctypes.CDLL(name, os.RTLD_NOLOAD | os.RTLD_LOCAL)  # this module was imported by another name
    except OSError:
        if tvm_ffi.get_global_func("device_api.cuda", allow_missing=True) is not None:
            raise TrueGpu("TVM has a CUDA device already: the emulated one can not take its place") from None
        ctypes.CDLL(name)


def compile_source(code: str) -> bytes:
    """TVM's CUDA source as a module of the emulated GPU. Raises BuildError."""
    return compile_module(emulated_source(code))


@contextmanager
def registered() -> Iterator[None]:
    """TVM compiles CUDA source for the emulated GPU; before and after as it did."""
    import tvm_ffi

    load()
    former = {name: tvm_ffi.get_global_func(name, allow_missing=True) for name in CALLBACKS}
    ours = {CALLBACKS[0]: lambda code, *_: compile_source(code), CALLBACKS[1]: lambda code, *_: code}
    for name, function in ours.items():
        tvm_ffi.register_global_func(name, function, override=True)
    try:
        yield
    finally:
        for name, function in former.items():
            if function is None:
                tvm_ffi.registry.remove_global_func(name)
            else:
                tvm_ffi.register_global_func(name, function, override=True)


@contextmanager
def counted() -> Iterator[list[dict]]:
    """The list that is given has, after the block, a row a launch: counts by instruction.

    `instructions` (of warps), `wavefronts` and `conflicts` of shared memory, `sectors` of 32 bytes of global memory.
    """
    emulator = library()
    launches: list[dict] = []
    emulator.tvmq_emulated_count(1)
    try:
        yield launches
        launches.extend(json.loads(emulator.tvmq_emulated_statistics()))
    finally:
        emulator.tvmq_emulated_count(0)
