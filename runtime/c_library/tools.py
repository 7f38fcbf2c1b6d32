"""The C compiler of a target, and the tools that belong to it: an assembler, an archiver, and ``size``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import TvmqError
from ...targets import host
from ..compilers import debian_package, named_triple, refuse_other_architecture
from ..libraries import call


@dataclass(frozen=True)
class Tools:
    """A C compiler and its options."""

    compiler: str
    options: Sequence[str] = ()

    def compile(self, source: Path, output: Path) -> None:
        """Compile a C or assembly file to an object file, for libraries of any kind; raises ``TvmqError``."""
        command = [self.compiler, "-O2", "-fPIC", *self.options, "-c", str(source), "-o", str(output)]
        call(command, f"{self.compiler} cannot compile {source.name}")

    def archive(self, objects: Sequence[Path], output: Path) -> None:
        """Make a static library, the same bytes from the same objects; raises ``TvmqError``."""
        call([self._program("ar"), "rcsD", str(output), *map(str, objects)], f"cannot make {output.name}")

    def code_bytes(self, objects: Sequence[Path]) -> int:
        """Return the size of code and of the constants beside it, in bytes; raises ``TvmqError``."""
        lines = call([self._program("size"), *map(str, objects)], "cannot measure the code").splitlines()
        return sum(int(line.split()[0]) for line in lines[1:])

    def _program(self, name: str) -> str:
        """Return the path of a tool that belongs to the compiler."""
        failure = f"{self.compiler} does not name its {name}"
        path = call([self.compiler, f"-print-prog-name={name}"], failure).strip()
        if not path:
            raise TvmqError(failure)
        return path


def tools_for(triple: str, compiler: str | None = None, options: Sequence[str] = ()) -> Tools:
    """Return the tools for a target.

    Parameters
    ----------
    triple : as for ``runtime.compilers.linker_for``.
    compiler : the C compiler to use; None takes the usual one of the triple, and ``gcc`` on a machine of its
        architecture.

    Raises
    ------
    TvmqError : it is not there, and the message names Debian's package; or it compiles for another architecture.
    """
    arch = host.arch_of_triple(triple)
    if compiler is None:
        prefix = "" if arch == host.architecture() else f"{named_triple(triple)}-"
        compiler = f"{prefix}gcc"
        package = debian_package("gcc", prefix[:-1]) if prefix else " (Debian's package gcc)"
    else:
        package = ""
    if shutil.which(compiler) is None:
        raise TvmqError(
            f"C compiler {compiler!r} is not on the PATH: install it{package}, "
            "or name another with --cross-compiler"
        )
    refuse_other_architecture((compiler, *options), arch)
    return Tools(compiler, tuple(options))
