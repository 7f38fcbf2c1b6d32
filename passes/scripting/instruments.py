"""Instruments of ``tvm.transform`` for a script's passes: the time of each, what it changed, checks of what it leaves.

    with tvm.transform.PassContext(instruments=[PassFiles("passes")]):
        mod = pipeline(mod)                 or Sequential(...)(mod), tvmq.quantize(...), tvmq.compile(...)

They see the passes that a script calls, and not those that these call in turn; TVM's own instruments see all.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tvm import IRModule
from tvm.ir.instrument import PassInstrument
from tvm.ir.transform import PassInfo

from ...errors import TvmqError
from ..hub.contract import PREFIX
from ..hub.verify import verify
from .pass_list import is_own
from .readable import difference, readable

SUMMARY = "summary.txt"
_SEQUENTIAL = "sequential"
"""The name of a ``Sequential``, whose passes are the script's."""


@dataclass(frozen=True)
class PassRun:
    """A pass that has run: its name, the modules that it was given and returned, and how long it took."""

    name: str
    before: IRModule
    after: IRModule
    seconds: float


class PassWatcher(PassInstrument):
    """Base of an instrument that is told of each pass behind it."""

    __slots__ = ("__dict__",)  # TVM's objects have no attributes of their own

    def __init__(self) -> None:
        super().__init__()
        self._running: list[tuple[str, IRModule, float]] = []
        self._contexts = 0

    def ran(self, run: PassRun) -> None:
        """Take in a pass that has run."""
        raise NotImplementedError

    def enter_pass_ctx(self) -> None:
        self._contexts += 1

    def exit_pass_ctx(self) -> None:
        self._contexts -= 1
        if not self._contexts:
            self._running.clear()  # of a pass that failed

    def run_before_pass(self, mod: IRModule, info: PassInfo) -> None:
        if info.name != _SEQUENTIAL:
            self._running.append((str(info.name), mod, time.perf_counter()))

    def run_after_pass(self, mod: IRModule, info: PassInfo) -> None:
        now = time.perf_counter()
        if info.name == _SEQUENTIAL:
            return
        name, before, started = self._running.pop()
        while name != info.name:  # one that was called by this one and failed
            name, before, started = self._running.pop()
        if not self._running:
            self.ran(PassRun(name, before, mod, now - started))


class VerifyPasses(PassWatcher):
    """Checks what passes from elsewhere leave, as ``Pipeline`` does, where they run in a ``Sequential`` or alone.

    What they leave otherwise than ``passes.hub.verify`` allows raises ``TvmqError`` with the name of the pass.
    """

    def ran(self, run: PassRun) -> None:
        if not is_own(run.name):
            verify(run.name, run.before, run.after)


class PassTimes(PassWatcher):
    """Takes the time of each pass.

    Attributes
    ----------
    times : names and seconds, in the order in which they ran. As a string it is a table.
    """

    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[str, float]] = []

    def ran(self, run: PassRun) -> None:
        self.times.append((run.name.removeprefix(PREFIX), run.seconds))

    def table(self) -> str:
        """Return a line for each pass, and their sum."""
        rows = [*self.times, ("in all", sum(seconds for _, seconds in self.times))]
        return "\n".join(f"{seconds:9.3f} s  {name}" for name, seconds in rows)


class PassFiles(PassWatcher):
    """Writes what each pass did into a folder, as it goes.

    ``000-given.py`` is the module that the first pass is given, ``001-Prepare.py`` what it returns, and
    ``001-Prepare.diff`` the unified diff of the two (``passes.scripting.readable``), and so on; ``summary.txt`` has
    time and changed lines of each. Files of an earlier run are taken away.

    Raises
    ------
    TvmqError : the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self._folder = Path(folder)
        self._count = 0
        self._last: tuple[IRModule, str] | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.iterdir():
                if re.fullmatch(r"\d{3,}-.*\.(py|diff)", path.name):
                    path.unlink()
        except OSError as error:
            raise self._cannot_write(error) from error
        self._write(SUMMARY, "number    seconds   added  removed  pass\n")

    def ran(self, run: PassRun) -> None:
        name = re.sub(r"[^\w.]", "_", run.name.removeprefix(PREFIX))
        if self._last is None:
            self._write("000-given.py", readable(run.before))
        same = self._last is not None and self._last[0].same_as(run.before)
        before = self._last[1] if same and self._last is not None else readable(run.before)
        after = before if run.after.same_as(run.before) else readable(run.after)
        self._count += 1
        stem = f"{self._count:03d}-{name}"
        changes = difference(before, after, ("given", name))
        self._write(f"{stem}.py", after)
        self._write(f"{stem}.diff", "".join(changes))
        self._last = run.after, after
        added, removed = (sum(line.startswith(sign) for line in changes[2:]) for sign in "+-")
        line = f"{self._count:6d} {run.seconds:10.3f} {added:7d} {removed:8d}  {name}\n"
        self._write(SUMMARY, line, append=True)

    def _write(self, name: str, text: str, append: bool = False) -> None:
        try:
            with (self._folder / name).open("a" if append else "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> TvmqError:
        return TvmqError(f"cannot write the passes to {str(self._folder)!r}: {error.strerror or error}")
