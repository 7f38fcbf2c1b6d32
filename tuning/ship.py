"""``python -m tvmq.tuning.ship RECORDS...``: the best records of some folders, for ``tuning_logs``.

Of each kernel the fastest record of each target family is kept, with those that already ship: one line a kernel.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tvm.target import Target

from .. import tuning_logs
from ..schedules.records import MANIFEST, RECORDS, WORKLOADS, Record, read_records
from ..targets.features import row_of, threads_of
from ..targets.parse import parse_target
from .store import manifest

SHIPPED = Path(tuning_logs.__file__).parent


def ship(folders: Iterable[Path], target: Target, root: Path) -> Path:
    """Write the best records for the target to its folder below ``root``, and return that.

    Raises
    ------
    TvmqError : a folder has no records that can be read.
    """
    row, threads = row_of(target), threads_of(target)
    output = tuning_logs.folder_of(row, threads, root)
    best: dict[str, Record] = {}
    for folder in [*([output] if output.is_dir() else []), *folders]:
        found = read_records(folder, row, threads)
        for key in found.by_workload:
            record = found.best(key)
            if record is not None and (key not in best or record.seconds < best[key].seconds):
                best[key] = record
    output.mkdir(parents=True, exist_ok=True)
    kernels = sorted(best)
    # A record is found by its kernel's hash; the module beside it is of a hundred kilobytes that nothing reads.
    _write(output / WORKLOADS, [[key, None] for key in kernels])
    _write(output / RECORDS, [[place, _line(best[key])] for place, key in enumerate(kernels)])
    (output / MANIFEST).write_text(json.dumps(manifest(), indent=2) + "\n")
    return output


def _line(record: Record) -> list[Any]:
    return [record.trace, [record.seconds], record.target, None]


def _write(path: Path, values: Iterable[Any]) -> None:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tvmq.tuning.ship", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="RECORDS")
    parser.add_argument("--target", required=True, help="what the records were tuned for")
    args = parser.parse_args(argv)
    print(ship(args.folders, parse_target(args.target), SHIPPED))


if __name__ == "__main__":
    main()
