"""From TVM's modules to ``mod.so``: object code linked by a C++ compiler, ours or the target's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TvmqError
from ..parallel import in_parallel

if TYPE_CHECKING:
    from tvm.runtime import Module


_REST = """
.section .rodata, "a"
.globl __tvm_ffi__library_bin
.balign 64
__tvm_ffi__library_bin:
.incbin "{content}"
.section .note.GNU-stack, "", %progbits
"""
"""Assembly of any architecture with what TVM's runtime looks for in a library."""


def link(
    module: Module,
    output: Path,
    command: Sequence[str],
) -> None:
    """Link a module into a shared library that TVM's runtime loads; constants are inside.

    Parameters
    ----------
    module : that of an executable, or a kernel's.
    output : the library to write.
    command : the compiler and its arguments, as ``runtime.compilers.linker_for`` gives them.

    Raises
    ------
    TvmqError : the compiler fails.
    """
    from tvm.support import cc

    compiler, *options = command
    try:
        with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
            objects = _objects(module, Path(folder))
            # "-s" leaves out symbols and debug sections, which no run needs.
            cc.create_shared(str(output), objects, ["-s", *options], cc=compiler)
    except RuntimeError as error:
        raise TvmqError(f"{compiler} cannot link mod.so: {_cause(str(error))}") from error
    if not output.is_file():
        raise TvmqError(f"{compiler} cannot link mod.so: it succeeds and writes no file")


def _objects(root: Module, folder: Path) -> list[str]:
    """Write object files with the code, and assembly with everything else that the modules hold; return their paths.

    ``Module.export_library`` writes them one by one, and has LLVM make an object of the weights, in four times their
    memory.
    """
    import tvm

    modules, waiting = [root], [root]
    while waiting:
        new = [module for module in waiting.pop().imports if module not in modules]
        modules += new
        waiting += new
    code = {
        folder / f"code{index}.o": module for index, module in enumerate(modules) if module.kind == "llvm"
    }
    in_parallel(lambda item: item[1].write_to_file(str(item[0])), code.items())
    if not root.imports:
        return [*map(str, code)]
    content, rest = folder / "rest.bin", folder / "rest.s"
    np.from_dlpack(tvm.get_global_func("runtime.ModulePackImportsToTensor")(root)).tofile(content)
    rest.write_text(_REST.format(content=content))
    return [*map(str, code), str(rest)]


def _cause(message: str) -> str:
    """Return the line of a linker's output that says what went wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "incompatible" in line.lower()]
    named = [line for line in telling if not line.startswith("Compilation error")]
    return (named or telling or lines or ["unknown error"])[0]
