"""Programs for a core, run under QEMU with the plugin that counts.

QEMU looks into the folder of ``-L`` for each file that a program opens: it has the cross compiler's libraries, and a
``/proc/cpuinfo`` of the core, since libraries choose kernels by its part number too.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import TvmqError
from ...runtime.libraries import cache_folder, call, replacing
from .blocks import Counts, Place, counts_of_run, read_counts
from .cores import Core

EMULATOR, COMPILER, LIBRARIES = "qemu-aarch64", "gcc", Path("/usr/aarch64-linux-gnu/lib")
_SOURCES = Path(__file__).parent / "cpp"

_CPUINFO = """processor\t: 0
BogoMIPS\t: 100.00
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant:#x}
CPU part\t: {part:#x}
CPU revision\t: {revision}

"""
"""Of one core of ARM's own; what it can do the kernel, here QEMU, tells each program."""


@dataclass(frozen=True)
class Program:
    """A program that runs a model.

    Attributes
    ----------
    command : number of runs to the command line, without the emulator.
    environment : variables that the program gets beside this process's own.
    """

    command: Callable[[int], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)


def check_tools() -> None:
    """Raise ``TvmqError`` for the first tool that is missing."""
    for tool, package in ((EMULATOR, "qemu-user"), (COMPILER, "gcc")):
        if shutil.which(tool) is None:
            raise TvmqError(f"{tool} is not installed: it is in Debian's package {package}")
    if not LIBRARIES.is_dir():
        raise TvmqError(f"no folder {LIBRARIES}: it is in Debian's package g++-aarch64-linux-gnu")


def count(
    program: Program, core: Core, runs: tuple[int, int] = (2, 4), with_memory: bool = True
) -> dict[Place, Counts]:
    """Return what one run of the model does, block by block.

    Parameters
    ----------
    runs : of the two processes whose difference it is.
    with_memory : also count bytes, which takes up to twice as long.

    Raises
    ------
    TvmqError : a tool is missing, or the program fails.
    """
    fewer, more = (
        count_process(program.command(number), core, program.environment, with_memory) for number in runs
    )
    return counts_of_run(fewer, more, runs[1] - runs[0])


def count_process(
    command: Sequence[str], core: Core, environment: Mapping[str, str], with_memory: bool = True
) -> dict[Place, Counts]:
    """Return what a whole process does, block by block; errors are those of ``count``."""
    check_tools()
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        out = Path(folder) / "counts"
        plugin = f"{build_plugin()},out={out}" + (f",cache={core.cache_kib}" if with_memory else "")
        launcher = [EMULATOR, "-cpu", core.emulated, "-L", str(root_folder(core)), "-plugin", plugin]
        # For the program alone: QEMU itself must not look for its libraries there.
        launcher += [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
        done = subprocess.run([*launcher, *command], capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise TvmqError(
                f"{Path(command[0]).name} on {core.emulated} under {EMULATOR} failed: {lines[-1]}"
            )
        return read_counts(out)


def build_plugin() -> Path:
    """Return the path of the plugin, built once for the same sources; raises ``TvmqError`` where that fails."""
    sources = [_SOURCES / "counts.c", _SOURCES / "qemu_plugin.h"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = cache_folder() / f"plugin-{digest}"
    if not folder.is_dir():
        options = ["-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"]
        with replacing(folder) as new:
            command = [COMPILER, *options, str(sources[0]), "-o", str(new / "counts.so")]
            call(command, "cannot build the plugin of QEMU")
    return folder / "counts.so"


def root_folder(core: Core) -> Path:
    """Return the folder that a program on this core sees before the machine's own files."""
    content = _CPUINFO.format(part=core.part, variant=core.release[0], revision=core.release[1])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    folder = cache_folder() / f"root-{core.name}-{digest}"
    if not folder.is_dir():
        with replacing(folder) as new:
            (new / "lib").symlink_to(LIBRARIES)
            (new / "proc").mkdir()
            (new / "proc" / "cpuinfo").write_text(content)
    return folder
