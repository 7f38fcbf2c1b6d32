"""Tuned records: schedules that were found by measuring, kept as MetaSchedule's JSON tables.

    database_workload.json        a line a kernel: [structural hash, module]
    database_tuning_record.json   a line a measurement: [number of the kernel, [trace, seconds, target, arguments]]
    manifest.json                 the versions and the machine that made them

A record is used wherever its kernel occurs, whatever the model, on targets of the same row and number of threads (of
a GPU, of the same row);
TVM's own look-up wants the target's every attribute equal. A line that cannot be read costs only itself.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import Trace
from tvm.target import Target

from ..errors import TvmqError
from ..passes.hub.scopes import without_scopes
from ..targets import intrinsics
from ..targets.features import row_of, threads_of
from ..targets.row import TargetRow
from .cuda.choices import write_noted
from .schedule import Schedule
from .workload import hash_of, workload_of

logger = logging.getLogger(__name__)

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
MANIFEST = "manifest.json"

FAILED = 1e9
"""Seconds from which on a time stands for a candidate that did not run, as in MetaSchedule's tables."""


@dataclass(frozen=True)
class Record:
    """One measured schedule: trace and target as JSON, and the median of its times, ``FAILED`` where it has none."""

    trace: Any
    seconds: float
    target: Any


@dataclass(frozen=True)
class Records:
    """The records of one folder that are for one target row and number of threads.

    Attributes
    ----------
    by_workload : records by the kernel's structural hash.
    """

    folder: Path
    row: TargetRow
    by_workload: dict[str, list[Record]] = field(default_factory=dict)

    def best(self, workload: str) -> Record | None:
        """Return the fastest record of a kernel that ran; None without one."""
        records = self.by_workload.get(workload, [])
        best = min(records, key=lambda record: record.seconds, default=None)
        return best if best is not None and best.seconds < FAILED else None


def read_records(folder: Path, row: TargetRow, threads: int) -> Records:
    """Return the records of a folder that are for this row and number of threads; what is left out is logged.

    Raises
    ------
    TvmqError : a table is missing or cannot be read at all.
    """
    for name in (WORKLOADS, RECORDS):
        if not (folder / name).is_file():
            raise TvmqError(f"tuning records {str(folder)!r} have no {name}")
    records = Records(folder, row)
    made_by = made_by_version(folder)
    if made_by not in (None, tvm.__version__):
        logger.warning(
            "tuning records %r are of TVM %s, and this is %s: ignored", str(folder), made_by, tvm.__version__
        )
        return records
    hashes = {
        number: str(line[0]) for number, line in json_lines(folder / WORKLOADS) if isinstance(line, list)
    }
    targets: dict[str, str] = {}
    others: dict[str, int] = {}
    for number, line in json_lines(folder / RECORDS):
        try:
            index, (trace, seconds, target, _) = line
            workload, median = hashes[index], statistics.median(seconds) if seconds else FAILED
            key = json.dumps(target, sort_keys=True)
            if key not in targets:
                targets[key] = _family(target)
        except (AttributeError, KeyError, TypeError, ValueError):
            logger.warning("%s, line %d is no record: skipped", folder / RECORDS, number + 1)
            continue
        if targets[key] != family(row, threads):
            others[targets[key]] = others.get(targets[key], 0) + 1
            continue
        records.by_workload.setdefault(workload, []).append(Record(trace, median, target))
    # A folder may hold records of many targets; one without any for this target is a mistake.
    level = logging.INFO if records.by_workload else logging.WARNING
    for other, count in others.items():
        logger.log(
            level,
            "%d tuning records of %r are for %s, not %s: ignored",
            count,
            str(folder),
            other,
            family(row, threads),
        )
    return records


def family(row: TargetRow, threads: int) -> str:
    """Return what a record's target has in common with those that it is used for; threads are a CPU's."""
    return (
        row.name if row.gpu is not None else f"{row.name} with {threads} thread{'s' if threads > 1 else ''}"
    )


def made_by_version(folder: Path) -> str | None:
    """Return the version of TVM that the folder's manifest names; None without a manifest that says so."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return str(manifest["tvm"]) if isinstance(manifest, dict) and "tvm" in manifest else None


def apply_records(mod: tvm.IRModule, records: Records) -> tvm.IRModule:
    """Return the module with every kernel that has a record scheduled as the best one says."""
    intrinsics.register_all(records.row)
    updated = {}
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            scheduled = _scheduled(func, records, var.name_hint)
            if scheduled is not None:
                updated[var] = scheduled
    mod = mod.clone()
    for var, func in updated.items():
        mod.update_func(var, func)
    return mod


def _scheduled(func: tirx.PrimFunc, records: Records, name: str) -> tirx.PrimFunc | None:
    record = records.best(hash_of(workload_of(func)))
    if record is None:
        return None
    try:
        sch = Schedule(func)
        Trace.apply_json_to_schedule(record.trace, sch)
        if records.row.gpu is not None:
            return without_scopes(write_noted(sch.mod["main"], records.row))
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        logger.warning("the best record of %r for %s does not apply: %s", str(records.folder), name, reason)
        return None
    return sch.mod["main"].with_attr("tirx.is_scheduled", True)


def _family(target: Any) -> str:
    """Return the family of a record's target; the target itself where no row is for it."""
    try:
        parsed = Target(target)
        return family(row_of(parsed), threads_of(parsed))
    except (TvmqError, ValueError):
        return f"target {json.dumps(target)}"


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield number, from 0, and value of each line; a line that is no JSON is logged and left out."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise TvmqError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError:
            logger.warning("%s, line %d is no JSON: skipped", path, number + 1)
