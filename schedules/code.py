"""Lowered Relax and kernels to machine code, the kernels in parts that are made at the same time.

LLVM works on one module in one thread, so the kernels are dealt out to several modules. How many depends on the number
of kernels alone: a package is the same from any machine.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.tirx.build import codegen_build

from ..parallel import in_parallel
from ..targets.features import is_gpu
from .bits import write_bits
from .cuda import code as cuda
from .lowering import lower
from .padding import skip_padding

KERNELS_A_PART = 8
MAX_PARTS = 16


def generate(mod: tvm.IRModule, target: tvm.target.Target) -> relax.VMExecutable:
    """Return the executable of a module of kernels and calls of the virtual machine.

    It is what ``tvm.compile`` makes, but for the parts.
    """
    if is_gpu(target):
        return cuda.generate_for_gpu(mod, target)
    builder = relax.ExecBuilder()
    kernels = tvm.get_global_func("relax.VMCodeGen")(builder, mod)
    library, *further = [code for _, code in compile_parts(kernels, target, lower)]
    return relax.VMExecutable(tvm.get_global_func("relax.VMLink")(builder, target, library, further, {}))


def compile_parts(
    kernels: tvm.IRModule, target: tvm.target.Target, lowering: tvm.transform.Pass
) -> list[tuple[tvm.IRModule, tvm.runtime.Module]]:
    """Return the kernels in parts: each its lowered functions and their code.

    Parameters
    ----------
    lowering : a pass that ``lowering.lower_by`` made.
    """
    context = tvm.transform.PassContext.current()
    config, is_watched = dict(context.config), bool(context.instruments)

    def lowered(part: tvm.IRModule) -> tvm.IRModule:
        return lowering(tirx.transform.BindTarget(target.with_host(target))(part))

    def code_of(part: tvm.IRModule) -> tuple[tvm.IRModule, tvm.runtime.Module]:
        # Each thread has a context of its own.
        with tvm.transform.PassContext(config=config):
            functions = part if is_watched else lowered(part)
            return functions, codegen_build(functions, target)

    if is_watched:  # instruments are of the caller's thread
        kernels = lowered(kernels)
    return in_parallel(code_of, _parts(kernels))


def compile_kernel(func: tirx.PrimFunc, target: tvm.target.Target) -> tvm.runtime.Module:
    """Return a module whose function ``main`` is a scheduled kernel, with the code that it has in a model."""
    if is_gpu(target):
        return cuda.compile_kernel(func, target)
    func = write_bits(skip_padding(func))
    kernel = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    ((_, code),) = compile_parts(kernel, target, lower)
    return code


def _parts(kernels: tvm.IRModule) -> list[tvm.IRModule]:
    """Return the kernels dealt out: neighbours, which are often alike, to different parts."""
    functions = list(kernels.functions.items())
    count = min(MAX_PARTS, max(1, -(-len(functions) // KERNELS_A_PART)))
    return [tvm.IRModule(dict(functions[start::count]), attrs=kernels.attrs) for start in range(count)]
