"""The C++ compiler that links for a target: ours, the one that the user names, or the usual one of the target's triple.

aarch64-linux-gnu --> aarch64-linux-gnu-g++, aarch64-linux-gnu-gcc, clang++ --target=aarch64-linux-gnu
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import TvmqError
from ..targets import host


def linker_for(
    triple: str, cross_compiler: str | None = None, options: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the command, options included, that links shared libraries for a target.

    Parameters
    ----------
    triple : LLVM's, such as ``"aarch64-linux-gnu"``; the architecture alone is one of Linux.
    cross_compiler : a compiler that the user names; None finds one.
    options : further arguments for it.

    Raises
    ------
    TvmqError : there is none, with the Debian package that has it, or it compiles for another architecture.
    """
    arch = host.arch_of_triple(triple)
    if cross_compiler is not None:
        if shutil.which(cross_compiler) is None:
            raise TvmqError(f"cross compiler {cross_compiler!r} is not on the PATH")
        command = (cross_compiler, *options)
        refuse_other_architecture(command, arch)
        return command
    if arch == host.architecture():
        return (_own_compiler(), *options)
    return (*cross_compiler_for(triple), *options)


def cross_compiler_for(triple: str) -> tuple[str, ...]:
    """Return the command of an installed C++ compiler for a triple; errors as ``linker_for``."""
    gnu = named_triple(triple)
    for name in (f"{gnu}-g++", f"{gnu}-gcc"):
        if shutil.which(name) is not None:
            return (name,)
    for name in ("clang++", "clang"):
        command = (name, f"--target={gnu}", *(("-fuse-ld=lld",) if shutil.which("ld.lld") else ()))
        if shutil.which(name) is not None and _links(command):
            return command
    raise TvmqError(
        f"linking for {gnu.partition('-')[0]} needs a cross compiler, such as {gnu}-g++: "
        f"install it{debian_package('g++', gnu)}, or name yours with --cross-compiler"
    )


def named_triple(triple: str) -> str:
    """Return ``gnu_triple``; raise ``TvmqError`` where no compiler is called by it."""
    gnu = gnu_triple(triple)
    if not gnu:
        raise TvmqError(
            f"there is no usual compiler for {triple}: name yours with --cross-compiler, "
            "or CompileOptions(cross_compiler=...)"
        )
    return gnu


def debian_package(compiler: str, gnu: str) -> str:
    """Return ``" (Debian's package g++-aarch64-linux-gnu)"``; nothing where Debian has none: other C libraries."""
    return f" (Debian's package {compiler}-{gnu.replace('_', '-')})" if "-gnu" in gnu else ""


def gnu_triple(triple: str) -> str:
    """Return what the compilers for a triple are called by: ``"arm-linux-gnueabihf"`` for ``"armv7l-linux-gnueabihf"``.

    Nothing for another system, such as macOS, and for Android, whose compilers have its version in their names. A
    triple that names no system, or no more than Linux, is of Debian's for the architecture.
    """
    arch, *rest = triple.split("-")
    arch = host.arch_of_triple(arch)
    if arch.startswith("armv"):
        arch = "arm"
    system = rest[rest.index("linux") :] if "linux" in rest else []
    if (rest and not system) or system[1:] == ["android"]:
        return ""
    return "-".join(
        [arch, *(system if len(system) > 1 else ["linux", "gnueabihf" if arch == "arm" else "gnu"])]
    )


def _own_compiler() -> str:
    """Return ``$CXX`` or the machine's own compiler."""
    from tvm.support import cc

    command = cc.get_cc()
    if command is None:
        raise TvmqError("no C++ compiler found to link mod.so: install g++ or clang++, or set CXX")
    if shutil.which(command) is None:
        raise TvmqError(f"C++ compiler {command!r} is not on the PATH; it is needed to link mod.so")
    return command


def refuse_other_architecture(command: Sequence[str], arch: str) -> None:
    """Raise ``TvmqError`` where the compiler says that it compiles for another architecture; some say nothing."""
    done = subprocess.run([*command, "-dumpmachine"], capture_output=True, text=True, check=False)
    found = gnu_triple(done.stdout.strip()).partition("-")[0]
    wanted = gnu_triple(arch).partition("-")[0]
    if done.returncode == 0 and found and found != wanted:
        raise TvmqError(f"cross compiler {command[0]!r} compiles for {found}, and the target is {wanted}")


def _links(command: Sequence[str]) -> bool:
    """Tell whether the compiler can link for its target: clang knows every one, and has libraries for few."""
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        empty = [*command, "-shared", "-x", "c++", os.devnull, "-o", str(Path(folder) / "empty.so")]
        return subprocess.run(empty, capture_output=True, check=False).returncode == 0
