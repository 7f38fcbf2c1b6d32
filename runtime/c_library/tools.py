"""The C compiler of a target, and the tools that belong to it: an assembler, an archiver, and ``size``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import TvmqError
from ...targets import host
from ..compilers import refuse_other_architecture
from ..libraries import call

# Architecture -> the prefix of its tools, and how Debian calls their package.
_PREFIXES = {
    "x86_64": ("x86_64-linux-gnu-", "gcc-x86-64-linux-gnu"),
    "aarch64": ("aarch64-linux-gnu-", "gcc-aarch64-linux-gnu"),
    "arm": ("arm-linux-gnueabihf-", "gcc-arm-linux-gnueabihf"),
}


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
        command = [self.compiler, f"-print-prog-name={name}"]
        return call(command, f"{self.compiler} does not name its {name}").strip()


def tools_for(arch: str, compiler: str | None = None, options: Sequence[str] = ()) -> Tools:
    """Return the tools for an architecture.

    Parameters
    ----------
    compiler : the C compiler to use; None takes Debian's for the architecture, and ``gcc`` on a machine of it.

    Raises
    ------
    TvmqError : it is not there, and the message names the package; or it compiles for another architecture.
    """
    prefix, package = _PREFIXES[arch]
    if arch == host.architecture():
        prefix, package = "", "gcc"
    compiler = compiler or f"{prefix}gcc"
    if shutil.which(compiler) is None:
        raise TvmqError(f"C compiler {compiler!r} is not on the PATH; on Debian: apt-get install {package}")
    refuse_other_architecture((compiler, *options), arch)
    return Tools(compiler, tuple(options))
