"""A model as a C library: ``libNAME.a``, ``NAME.h`` and an example, ``main.c``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import TvmqError
from ...parallel import in_parallel
from ..archive import write_members
from .sources import Sources
from .tensors import c_tensors
from .tools import Tools

if TYPE_CHECKING:
    from tvm.runtime import Module

    from ...schedules.c_library.plan import Plan

_WEIGHTS = """
.section .rodata, "a"
.globl {name}_weights
.balign 64
{name}_weights:
.incbin "{content}"
.section .note.GNU-stack, "", %progbits
"""
"""Assembly of any architecture: an assembler copies the file, where a compiler would read an array number by number."""


@dataclass(frozen=True)
class CLibrary:
    """A compiled model that C programs link, without TVM.

    Attributes
    ----------
    name : what its functions' names begin with.
    files : content by file name: the library, its header, and an example.
    metadata : as of a package; ``bytes`` has ``code``, ``weights`` and ``workspace``.
    sources : its code as text, as of a package.
    """

    name: str
    files: Mapping[str, bytes]
    metadata: dict[str, Any]
    sources: dict[str, str] = field(default_factory=dict)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the files into a folder, or into a tar where the path ends so.

        Raises
        ------
        TvmqError : nothing can be written there, or what is there is of the other kind.
        """
        path = Path(path)
        if path.suffix == ".tar":
            write_members(path, ((name, content, 0o644) for name, content in self.files.items()))
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name, content in self.files.items():
                (path / name).write_bytes(content)
        except OSError as error:
            raise TvmqError(f"cannot write {str(path)!r}: {error.strerror}") from error


def make_library(
    name: str, code: Sequence[Module], plan: Plan, metadata: Mapping[str, Any], tools: Tools
) -> CLibrary:
    """Return the library of compiled kernels.

    Parameters
    ----------
    name : an identifier of C; the kernels' symbols begin with it.
    code : modules of machine code.
    plan : what the library's function does.
    metadata : as ``runtime.describe.describe`` makes it.

    Raises
    ------
    TvmqError : an input or output has a dtype that C has no type for; a tool fails.
    """
    target = metadata["target"]
    sources = Sources(
        name,
        f"{metadata['scheme']}, for {target.get('mcpu', metadata['arch'])}",
        tools.compiler,
        c_tensors(metadata["inputs"], "in_"),
        c_tensors(metadata["outputs"], "out_"),
        metadata["alignment"],
        max(plan.workspace_bytes, metadata["alignment"]),
    )
    with tempfile.TemporaryDirectory(prefix="tvmq-") as scratch:
        folder = Path(scratch)
        objects = {folder / f"{name}_{index}.o": module for index, module in enumerate(code)}
        in_parallel(lambda item: item[1].write_to_file(str(item[0])), objects.items())
        (folder / f"{name}.h").write_text(sources.header())
        (folder / "main.c").write_text(sources.main())
        entry, weights = folder / f"{name}.c", folder / f"{name}_weights.s"
        entry.write_text(sources.entry(plan))
        (folder / "weights.bin").write_bytes(plan.weights)
        weights.write_text(_WEIGHTS.format(name=name, content=folder / "weights.bin"))
        for source in (entry, weights):
            tools.compile(source, source.with_suffix(".o"))
        of_code = [*objects, entry.with_suffix(".o")]
        tools.archive([*of_code, weights.with_suffix(".o")], folder / f"lib{name}.a")
        files = {file: (folder / file).read_bytes() for file in (f"lib{name}.a", f"{name}.h", "main.c")}
        sizes = {
            "code": tools.code_bytes(of_code),
            "weights": len(plan.weights),
            "workspace": sources.workspace_bytes,
        }
    return CLibrary(name, files, {**metadata, "bytes": sizes})
