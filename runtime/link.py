"""From TVM's executable to ``mod.so``: object code linked by a C++ compiler, ours or the target's."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TvmqError

if TYPE_CHECKING:
    from tvm.relax import VMExecutable


def link(
    executable: VMExecutable,
    output: Path,
    cross_compiler: str | None = None,
    cross_compiler_options: Sequence[str] = (),
) -> None:
    """Link the executable into a shared library that TVM's runtime loads; constants are inside.

    Parameters
    ----------
    executable : what ``tvm.compile`` gave for a Relax module.
    output : the library to write.
    cross_compiler : command that links for the target, such as ``"aarch64-linux-gnu-g++"``; None takes
        ``$CXX`` or the machine's own compiler.
    cross_compiler_options : further arguments for it.

    Raises
    ------
    TvmqError : there is no such compiler, or it fails.
    """
    from tvm.support import cc

    command = cross_compiler or cc.get_cc()
    if command is None:
        raise TvmqError("no C++ compiler found to link mod.so: install g++ or clang++, or set CXX")
    if shutil.which(command) is None:
        raise TvmqError(f"C++ compiler {command!r} is not on the PATH; it is needed to link mod.so")
    # "-s" leaves out symbols and debug sections, which no run needs.
    options = ["-s", *cross_compiler_options]
    try:
        executable.export_library(str(output), fcompile=cc.cross_compiler(command, options=options))
    except RuntimeError as error:
        raise TvmqError(f"{command} cannot link mod.so: {_cause(str(error))}") from error


def _cause(message: str) -> str:
    """Return the line of a linker's output that says what went wrong."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "incompatible" in line.lower()]
    named = [line for line in telling if not line.startswith("Compilation error")]
    return (named or telling or lines or ["unknown error"])[0]
