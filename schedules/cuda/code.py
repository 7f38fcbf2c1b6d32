"""Lowered Relax and kernels of a GPU to code: of the host by LLVM, of the GPU by nvcc, in parts at the same time.

lowered kernels --> launching functions, one module --> LLVM
                --> kernels, dealt out to parts --> CUDA source --> machine code of each architecture
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax, tirx
from tvm.target import Target
from tvm.tirx.build import codegen_build

from ...parallel import in_parallel
from . import nvcc
from .archs import archs_of
from .device_code import DeviceCode, GpuExecutable, source_module
from .lowering import lower

KERNELS_A_PART = 8
MAX_PARTS = 16


def generate_for_gpu(mod: tvm.IRModule, target: Target) -> GpuExecutable:
    """Return the executable of a module of kernels and calls of the virtual machine.

    Raises
    ------
    TvmqError : there is no nvcc, or it fails.
    """
    builder = relax.ExecBuilder()
    kernels = tvm.get_global_func("relax.VMCodeGen")(builder, mod)
    library, code = compile_kernels(kernels, target)
    linked = tvm.get_global_func("relax.VMLink")(builder, target, library, [], {})
    return GpuExecutable(linked, code, archs_of(target))


def compile_kernels(
    kernels: tvm.IRModule, target: Target
) -> tuple[tvm.runtime.Module, tuple[DeviceCode, ...]]:
    """Return the host's code, whose functions launch the kernels, and that of the GPU, which the former imports."""
    archs = archs_of(target)
    host, device = lower(kernels, target)
    modules = [source_module(part, target) for part in _parts(device)]
    binaries = in_parallel(lambda module: nvcc.compile_source(_source(module), archs), modules)
    code = tuple(DeviceCode(module, binary) for module, binary in zip(modules, binaries, strict=True))
    library = codegen_build(host, target.host)
    for part in code:
        library.import_module(part.runnable())
    return library, code


def compile_kernel(func: tirx.PrimFunc, target: Target) -> tvm.runtime.Module:
    """Return a module whose function ``main`` launches a scheduled kernel, with the code that it has in a model."""
    kernel = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    library, _ = compile_kernels(kernel, target)
    return library


def _source(module: tvm.runtime.Module) -> str:
    return str(module.inspect_source("cuda"))


def _parts(kernels: tvm.IRModule) -> Sequence[tvm.IRModule]:
    """Return the kernels dealt out: neighbours, which are often alike, to different parts."""
    functions = list(kernels.functions.items())
    count = min(MAX_PARTS, -(-len(functions) // KERNELS_A_PART))
    return [tvm.IRModule(dict(functions[start::count]), attrs=kernels.attrs) for start in range(count)]
