"""Names of functions by their place in an ELF file."""

from __future__ import annotations

import bisect
import functools
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

NAMELESS = "(no symbol)"


class Symbols:
    """The functions of one file; a file without symbols, or that is no ELF file, has none."""

    def __init__(self, path: str) -> None:
        self._segments: list[tuple[int, int, int]] = []
        self._is_stripped = True
        functions: dict[int, tuple[int, str]] = {}
        if Path(path).is_file():
            with open(path, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    self._read(ELFFile(file), functions)
        self._starts = sorted(functions)
        self._functions = functions

    def _read(self, elf: ELFFile, functions: dict[int, tuple[int, str]]) -> None:
        for segment in elf.iter_segments("PT_LOAD"):
            self._segments.append((segment["p_offset"], segment["p_filesz"], segment["p_vaddr"]))
        for section in elf.iter_sections():
            if isinstance(section, SymbolTableSection):
                self._is_stripped &= section.name != ".symtab"
                for symbol in section.iter_symbols():
                    if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]:
                        functions[symbol["st_value"]] = (symbol["st_size"], symbol.name)

    def at(self, offset: int, or_before: bool = False) -> str:
        """Return the name of the function that has the byte at this offset of the file.

        Parameters
        ----------
        or_before : give code without a symbol to the function before it, where the file has all of its symbols.
        """
        for start, size, address in self._segments:
            if start <= offset < start + size:
                wanted = offset - start + address
                index = bisect.bisect_right(self._starts, wanted) - 1
                if index >= 0:
                    length, name = self._functions[self._starts[index]]
                    if wanted < self._starts[index] + length or (or_before and not self._is_stripped):
                        return name
        return NAMELESS


@functools.cache
def symbols_of(path: str) -> Symbols:
    """Return a file's functions, read once."""
    return Symbols(path)
