"""From TVM's modules to ``mod.so``: object code linked by a C++ compiler, ours or the target's."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TvmqError
from ..parallel import in_parallel

if TYPE_CHECKING:
    from tvm.runtime import Module

    from ..schedules.cuda.device_code import DeviceCode

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
    device_code: Sequence[DeviceCode] = (),
) -> None:
    """Link a module into a shared library that TVM's runtime loads; constants are inside.

    Parameters
    ----------
    module : that of an executable, or a kernel's.
    output : the library to write.
    command : the compiler and its arguments, as ``runtime.compilers.linker_for`` gives them.
    device_code : of the module's kernels for a GPU.

    Raises
    ------
    TvmqError : the compiler fails.
    """
    from tvm.support import cc

    compiler, *options = command
    try:
        with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
            objects = _objects(module, Path(folder), device_code)
            # "-s" leaves out symbols and debug sections, which no run needs.
            cc.create_shared(str(output), objects, ["-s", *options], cc=compiler)
    except RuntimeError as error:
        raise TvmqError(f"{compiler} cannot link mod.so: {_cause(str(error))}") from error
    if not output.is_file():
        raise TvmqError(f"{compiler} cannot link mod.so: it succeeds and writes no file")


def _objects(root: Module, folder: Path, device_code: Sequence[DeviceCode]) -> list[str]:
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
    packed = np.from_dlpack(tvm.get_global_func("runtime.ModulePackImportsToTensor")(root))
    if device_code:
        content.write_bytes(with_device_code(packed.tobytes(), device_code))
    else:
        packed.tofile(content)
    rest.write_text(_REST.format(content=content))
    return [*map(str, code), str(rest)]


def _cause(message: str) -> str:
    """Return the line of a linker's output that says what went wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "incompatible" in line.lower()]
    named = [line for line in telling if not line.startswith("Compilation error")]
    return (named or telling or lines or ["unknown error"])[0]


def with_device_code(packed: bytes, device_code: Sequence[DeviceCode]) -> bytes:
    """Return what TVM packs of modules with machine code in place of source, where it has that: without a GPU's driver.

    length | modules | "cuda" | length | source    -->    length | modules | "cuda" | length | machine code
    """
    for part in device_code:
        source, code = _bytes(part.saved_source), _bytes(part.saved)
        if packed.count(source) + packed.count(code) != 1:
            raise TvmqError("the package would lack a GPU's kernels: TVM packs its modules in another form")
        packed = packed.replace(source, code)
    return struct.pack("<Q", len(packed) - 8) + packed[8:]


def _bytes(content: bytes) -> bytes:
    """Return bytes as TVM saves them, with their length in front."""
    return struct.pack("<Q", len(content)) + content
