"""Cycles of instruction sequences in LLVM's models of cores.

A sequence is repeated until its cycles are those of the steady state, so a chain through its own results counts, and
what the core overlaps of one repetition with the next does too. Data is always in the first cache, branches are guessed
right. The simulation is llvm-mca's, through its library: ``cpp/pipeline.cc`` says what is mended.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...errors import TvmqError
from ...runtime.libraries import cache_folder, call, replacing
from .blocks import WORD

COMPILER, CONFIG, ASSEMBLER, VERSION = "g++", "llvm-config-19", "llvm-mc-19", 19
SIMULATED = 1500
"""Instructions that are simulated of each sequence, but for one of more than half of that, which runs twice."""
_SOURCE = Path(__file__).parent / "cpp" / "pipeline.cc"
_LINE = re.compile(r"^\s+(?P<text>\S.*?)\s*// encoding: \[(?P<code>[^\]]+)\]", re.M)


def check_tools() -> None:
    """Raise ``TvmqError`` where LLVM's tools are missing."""
    packages = {COMPILER: "g++", CONFIG: f"llvm-{VERSION}-dev", ASSEMBLER: f"llvm-{VERSION}"}
    for tool, package in packages.items():
        if shutil.which(tool) is None:
            raise TvmqError(f"{tool} is not installed: it is in Debian's package {package}")


def listing(code: bytes) -> list[str]:
    """Return the instructions of a sequence as text; what LLVM does not know as its word."""
    words = [code[i : i + WORD] for i in range(0, len(code), WORD)]
    lines = "\n".join(" ".join(f"{byte:#04x}" for byte in word) for word in words)
    command = [ASSEMBLER, "--disassemble", "--triple=aarch64", "--mattr=+all", "--show-encoding"]
    texts = {
        bytes(int(byte, 16) for byte in line["code"].split(",")): line["text"].replace("\t", " ")
        for line in _LINE.finditer(_run(command, lines))
    }
    return [texts.get(word, f".inst {int.from_bytes(word, 'little'):#x}") for word in words]


def build_simulator() -> Path:
    """Return the path of the simulator, built once for the same source; raises ``TvmqError`` where that fails."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"pipeline-{digest}-llvm{VERSION}"
    if not folder.is_dir():
        check_tools()
        options, libraries = (
            _run([CONFIG, *words], "").split() for words in (["--cxxflags"], ["--ldflags", "--libs"])
        )
        with replacing(folder) as new:
            command = [COMPILER, *options, "-fno-rtti", "-O1", str(_SOURCE), *libraries]
            call([*command, "-o", str(new / "pipeline")], "cannot build the simulator of pipelines")
    return folder / "pipeline"


class Pipeline:
    """The model of a core; what it has found is kept from run to run.

    Parameters
    ----------
    cpu : the core's ``-mcpu`` in LLVM.
    """

    def __init__(self, cpu: str) -> None:
        self.cpu = cpu
        self._simulator = build_simulator()
        self._file = self._simulator.parent / f"{cpu}.json"
        self._kept: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def cycles(self, sequences: Sequence[bytes]) -> list[float]:
        """Return the cycles that each sequence of instructions takes when it is repeated.

        Raises
        ------
        TvmqError : LLVM does not know the core.
        """
        keys = [hashlib.sha256(code).hexdigest()[:32] for code in sequences]
        missing = {key: code for key, code in zip(keys, sequences, strict=True) if key not in self._kept}
        if missing:
            lines = (f"{max(1, SIMULATED * WORD // len(code))} {code.hex()}\n" for code in missing.values())
            found = _run([str(self._simulator), self.cpu], "".join(lines)).split()
            self._kept |= zip(missing, map(float, found), strict=True)
            self._keep()
        return [self._kept[key] for key in keys]

    def _keep(self) -> None:
        with tempfile.TemporaryDirectory(dir=self._file.parent) as folder:
            aside = Path(folder) / "new"
            aside.write_text(json.dumps(self._kept))
            os.replace(aside, self._file)


def _run(command: Sequence[str], text: str) -> str:
    """Return what a command prints for a text; llvm-mc fails where it has only skipped a line."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout:
        raise TvmqError(f"{Path(command[0]).name} failed: {(done.stderr.splitlines() or ['no output'])[0]}")
    return done.stdout
