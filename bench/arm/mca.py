"""Cycles of instruction sequences in llvm-mca's model of a core.

A sequence is repeated until its cycles are those of the steady state, so a chain through its own results counts, and
what the core overlaps of one repetition with the next does too. Data is always in the first cache, branches are guessed
right.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...errors import TvmqError
from ...runtime.libraries import cache_folder
from .blocks import WORD

MCA, ASSEMBLER, VERSION = "llvm-mca-19", "llvm-mc-19", 19
REPEATED = 4000
"""Instructions that are simulated of each sequence, but for a sequence of more than half of that, which runs twice."""
BATCH = 100_000
"""Instructions that are simulated in one call."""
_LINE = re.compile(r"^\s+(?P<text>\S.*?)\s*// encoding: \[(?P<code>[^\]]+)\]", re.M)


def check_tools() -> None:
    """Raise ``TvmqError`` where LLVM's tools are missing."""
    for tool in (MCA, ASSEMBLER):
        if shutil.which(tool) is None:
            raise TvmqError(f"{tool} is not installed: it is in Debian's package llvm-{VERSION}")


def disassemble(words: Iterable[bytes]) -> dict[bytes, str]:
    """Return the text of each instruction, 4 bytes; those that LLVM does not know are left out."""
    lines = "\n".join(" ".join(f"{byte:#04x}" for byte in word) for word in words)
    listing = _run([ASSEMBLER, "--disassemble", "--triple=aarch64", "--mattr=+all", "--show-encoding"], lines)
    return {
        bytes(int(byte, 16) for byte in line["code"].split(",")): line["text"]
        for line in _LINE.finditer(listing)
    }


def _words(code: bytes) -> list[bytes]:
    return [code[i : i + WORD] for i in range(0, len(code), WORD)]


def listing(code: bytes) -> list[str]:
    """Return the instructions of a sequence as text; what LLVM does not know as its word."""
    words = _words(code)
    texts = disassemble(set(words))
    return [
        texts.get(word, f".inst {int.from_bytes(word, 'little'):#x}").replace("\t", " ") for word in words
    ]


class Pipeline:
    """llvm-mca's model of a core; what it has found is kept from run to run.

    Parameters
    ----------
    cpu : its ``-mcpu``.
    """

    def __init__(self, cpu: str) -> None:
        check_tools()
        self.cpu = cpu
        self._file = cache_folder() / "mca" / f"{cpu}-llvm{VERSION}.json"
        self._kept: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def cycles(self, sequences: Sequence[bytes]) -> list[float]:
        """Return the cycles that each sequence of instructions takes when it is repeated.

        Raises
        ------
        TvmqError : llvm-mca fails.
        """
        keys = [hashlib.sha256(code).hexdigest()[:32] for code in sequences]
        missing = {key: code for key, code in zip(keys, sequences, strict=True) if key not in self._kept}
        if missing:
            texts = disassemble(
                {code[i : i + WORD] for code in missing.values() for i in range(0, len(code), WORD)}
            )
            for iterations, batch in _batches(missing):
                self._kept |= self._simulate(iterations, batch, texts)
            self._keep()
        return [self._kept[key] for key in keys]

    def _simulate(
        self, iterations: int, batch: dict[str, bytes], texts: dict[bytes, str]
    ) -> dict[str, float]:
        lines: list[str] = []
        for key, code in batch.items():
            # An instruction that LLVM cannot read is no arithmetic.
            body = [texts.get(word, "nop") for word in _words(code)]
            lines += [f"# LLVM-MCA-BEGIN {key}", *body, f"# LLVM-MCA-END {key}"]
        options = [
            "-mtriple=aarch64",
            f"-mcpu={self.cpu}",
            "-mattr=+all",
            f"-iterations={iterations}",
            "-json",
        ]
        # A call is followed into its function, whose blocks count themselves.
        options += ["-call-latency=1", "-skip-unsupported-instructions=any"]
        return parse_cycles(_run([MCA, *options], "\n".join(lines) + "\n"))

    def _keep(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._file.parent) as folder:
            aside = Path(folder) / "new"
            aside.write_text(json.dumps(self._kept))
            os.replace(aside, self._file)


def parse_cycles(report: str) -> dict[str, float]:
    """Return the cycles of one repetition by the name of the region, from llvm-mca's JSON."""
    return {
        region["Name"]: region["SummaryView"]["TotalCycles"] / region["SummaryView"]["Iterations"]
        for region in json.loads(report)["CodeRegions"]
    }


def _batches(sequences: dict[str, bytes]) -> Iterable[tuple[int, dict[str, bytes]]]:
    """Yield how often to repeat, and sequences that need about as many repetitions."""
    groups: dict[int, list[dict[str, bytes]]] = {}
    for key, code in sequences.items():
        length = len(code) // WORD
        iterations = max(2, REPEATED >> (length - 1).bit_length())
        batches = groups.setdefault(iterations, [{}])
        if len(batches[-1]) * REPEATED >= BATCH:
            batches.append({})
        batches[-1][key] = code
    for iterations, batches in groups.items():
        for batch in batches:
            yield iterations, batch


def _run(command: Sequence[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout:
        raise TvmqError(f"{command[0]} failed: {done.stderr.strip().splitlines()[0]}")
    return done.stdout
