"""A folder of tuned records that is being written: a line a measurement, on disk at once.

Whatever ends the program, only a line that was being written is lost; the next run goes on behind it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tvm
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.database import TuningRecord, Workload
from tvm.target import Target

from ..errors import TvmqError
from ..schedules.records import FAILED, MANIFEST, RECORDS, WORKLOADS, Records, made_by_version, read_records
from ..targets.features import threads_of
from ..targets.host import CPUINFO
from ..targets.row import TargetRow
from .candidates import Candidate
from .child import Measured
from .tasks import Task


class Store:
    """Appends to the tables of ``folder``, which is made where it does not exist.

    Raises
    ------
    TvmqError : the folder cannot be written, or holds records of another version of TVM.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder = folder
        self._target = target
        made_by = made_by_version(folder)
        if made_by not in (None, tvm.__version__):
            raise TvmqError(
                f"{str(folder)!r} holds records of TVM {made_by}, and this is {tvm.__version__}; "
                "name another folder"
            )
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in (WORKLOADS, RECORDS):
                (folder / name).touch()
                _end_line(folder / name)
            (folder / MANIFEST).write_text(json.dumps(manifest(), indent=2) + "\n")
        lines = (folder / WORKLOADS).read_text(errors="replace").splitlines()
        self._places = {_hash_in(line): place for place, line in enumerate(lines)}
        self._count = len(lines)

    def records(self, row: TargetRow) -> Records:
        """Return what the folder holds for this row and the target's number of threads."""
        return read_records(self.folder, row, threads_of(self._target))

    def add(self, task: Task, candidate: Candidate, measured: Measured) -> None:
        """Append the result of one candidate; one that failed is noted too, so that it is not tried again."""
        workload = Workload(task.workload)
        if task.hash not in self._places:
            self._append(WORKLOADS, workload.as_json())
            self._places[task.hash] = self._count
            self._count += 1
        record = TuningRecord(
            candidate.schedule.trace,
            workload,
            list(measured.seconds) or [10 * FAILED],
            self._target,
            ArgInfo.from_prim_func(task.func),
        )
        self._append(RECORDS, [self._places[task.hash], record.as_json()])

    def _append(self, name: str, value: Any) -> None:
        with _writing(self.folder), (self.folder / name).open("a") as file:
            file.write(json.dumps(value) + "\n")


def manifest() -> dict[str, str]:
    """Return what made the records: versions, CPU and date."""
    return {
        "tvmq": version("tvmq"),
        "tvm": tvm.__version__,
        "cpu": _cpu(),
        "date": datetime.date.today().isoformat(),
    }


def _cpu() -> str:
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _end_line(path: Path) -> None:
    """End the last line where a program was stopped within it; reading skips it."""
    with path.open("rb+") as file:
        if file.seek(0, 2) == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _hash_in(line: str) -> str | None:
    try:
        return str(json.loads(line)[0])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an ``OSError`` into the error that names the folder: not writable, no space left."""
    try:
        yield
    except OSError as error:
        raise TvmqError(
            f"cannot write tuning records to {str(folder)!r}: {error.strerror or error}"
        ) from error
