"""Modules of CUDA code: what TVM's code generation makes, with machine code in place of its source.

    "cuda", functions, source    -->    "fatbin", functions, machine code

That is how TVM saves such a module, and loads it where there is a GPU; strings have their length in front, in 8 bytes.
TVM itself would save source on a machine without a driver, and compile it where it is loaded.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tvm
from tvm import relax
from tvm.target import Target
from tvm.tirx.build import codegen_build

from .nvcc import ptx_of

_LOADER = "ffi.Module.load_from_bytes.cuda"
_FORCE_SOURCE = "TVM_COMPILE_FORCE_FALLBACK"
KIND = b"cuda"
_SOURCE, _BINARY = b"cuda", b"fatbin"


@dataclass(frozen=True)
class DeviceCode:
    """Kernels of a GPU, compiled.

    Attributes
    ----------
    module : TVM's module of their source, which cannot run.
    code : a fat binary.
    """

    module: tvm.runtime.Module
    code: bytes

    @property
    def source(self) -> str:
        """The CUDA source."""
        return str(self.module.inspect_source("cuda"))

    @cached_property
    def saved_source(self) -> bytes:
        """What TVM saves of ``module``: the end of a library's content that has nothing but this module."""
        content = tvm.get_global_func("runtime.ModulePackImportsToTensor")(self.module).numpy().tobytes()
        return content[content.index(_string(KIND)) + len(_string(KIND)) + 8 :]

    @cached_property
    def saved(self) -> bytes:
        """What TVM would save of the compiled module."""
        source = self.source.encode()
        functions = self.saved_source.removeprefix(_string(_SOURCE)).removesuffix(_string(source))
        return _string(_BINARY) + functions + _string(self.code)

    def runnable(self) -> tvm.runtime.Module:
        """Return the compiled module where TVM's runtime for GPUs is there, else that of the source."""
        load = tvm.get_global_func(_LOADER, allow_missing=True)
        return self.module if load is None else load(self.saved)


class GpuExecutable(relax.VMExecutable):
    """An executable whose kernels run on a GPU.

    Attributes
    ----------
    device_code : of all its kernels.
    archs : that it has machine code for.
    """

    def __init__(
        self, mod: tvm.runtime.Module, device_code: tuple[DeviceCode, ...], archs: tuple[str, ...]
    ) -> None:
        super().__init__(mod)
        self.device_code = device_code
        self.archs = archs

    @property
    def gpu(self) -> dict[str, Any]:
        """What ``mod.json`` says of the code for GPUs (``docs/package-format.md``)."""
        code = sum(len(part.code) for part in self.device_code)
        return {"archs": list(self.archs), "ptx": ptx_of(self.archs), "code_bytes": code}


def source_module(kernels: tvm.IRModule, target: Target) -> tvm.runtime.Module:
    """Return TVM's module of the kernels' source; with a GPU there, it would compile it at once in its own way."""
    with _sources_only():
        return codegen_build(kernels, target)


@contextmanager
def _sources_only() -> Iterator[None]:
    if tvm.get_global_func(_LOADER, allow_missing=True) is None:
        yield
        return
    former = os.environ.get(_FORCE_SOURCE)
    os.environ[_FORCE_SOURCE] = "1"
    try:
        yield
    finally:
        if former is None:
            del os.environ[_FORCE_SOURCE]
        else:
            os.environ[_FORCE_SOURCE] = former


def _string(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content
