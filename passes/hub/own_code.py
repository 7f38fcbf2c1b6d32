"""Code that this machine runs while a model is made: LLVM's optimizations are for what takes long.

    numbers in all values of a module < SMALL   -->   opt-level 0, and an object file: half the time and less

Code that LLVM makes in memory has its instructions chosen with care, whatever the level; that of a file has not.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from pathlib import Path

import tvm
import tvm_ffi
from tvm import IRModule, relax

from .graph import bindings_of
from .open_dims import greatest_shape

SMALL = 1 << 15
"""Numbers in all values of a module under which LLVM's optimizations take longer than they save."""


def own_target(mod: IRModule) -> tvm.target.Target:
    """Return the target for a float module and TVM's default pipeline."""
    level = 0 if size_of(mod) < SMALL else 3
    return tvm.target.Target({"kind": "llvm", "opt-level": level})


def compiled(mod: IRModule) -> relax.VirtualMachine:
    """Compile a float module with TVM's default pipeline."""
    target = own_target(mod)
    executable = tvm.compile(mod, target=target)
    if not target.attrs["opt-level"]:
        to_library(executable)
    return relax.VirtualMachine(executable, tvm.cpu())


def to_library(executable: relax.VMExecutable) -> None:
    """Let an executable's kernels come from a library on disk, where there is a linker; else LLVM makes their code."""
    root, linker = executable.mod, shutil.which("ld")
    if linker is None or any(module.kind != "llvm" or module.imports for module in root.imports):
        return
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        objects = [Path(folder, f"code{place}.o") for place in range(len(root.imports))]
        for module, path in zip(root.imports, objects, strict=True):
            module.write_to_file(str(path))
        library = Path(folder, "code.so")
        # What is missing is to be said now: some functions are in no library but that of a C compiler.
        command = [linker, "-shared", "-z", "now", "-o", str(library), *map(str, objects)]
        if not objects or subprocess.run(command, capture_output=True, check=False).returncode:
            return
        try:
            loaded = tvm_ffi.load_module(library, keep_module_alive=False)
        except (OSError, RuntimeError):
            return
    root.clear_imports()
    root.import_module(loaded)


def size_of(mod: IRModule) -> int:
    """Return how many numbers all values of a module are together, at the greatest sizes of open dimensions."""
    tensors = [
        binding.value.ty for binding in bindings_of(mod) if isinstance(binding.value.ty, relax.TensorType)
    ]
    return sum(math.prod(greatest_shape(mod, tensor)) for tensor in tensors)
