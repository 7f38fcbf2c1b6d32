"""Tuned records: schedules that were found by measuring, kept as MetaSchedule's JSON tables.

A record belongs to a function's structure, so it is used wherever that function occurs, whatever the model.
"""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm import relax
from tvm.s_tir.meta_schedule.database import JSONDatabase

from ..errors import TvmqError
from ..targets import intrinsics
from ..targets.rows import TargetRow

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"


def open_records(folder: Path) -> JSONDatabase:
    """Return the records of a folder.

    Raises
    ------
    TvmqError : one of the two tables is missing, or is not what MetaSchedule writes.
    """
    for name in (WORKLOADS, RECORDS):
        if not (folder / name).is_file():
            raise TvmqError(f"tuning records {str(folder)!r} have no {name}")
    try:
        return JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS), allow_missing=False)
    except (RuntimeError, ValueError, TypeError) as error:
        cause = str(error).strip().splitlines()[-1]
        raise TvmqError(f"tuning records {str(folder)!r} cannot be read: {cause}") from error


def apply_records(mod: tvm.IRModule, folder: Path, row: TargetRow) -> tvm.IRModule:
    """Return the module with every function that has a record scheduled as the best one says.

    A ``tvm.target.Target`` must be in scope; records are kept a target.

    Raises
    ------
    TvmqError : see ``open_records``.
    """
    for dot in row.dots:
        if dot.intrinsic is not None:
            intrinsics.register(dot.intrinsic)  # schedules name them
    with open_records(folder):
        return relax.transform.MetaScheduleApplyDatabase()(mod)
