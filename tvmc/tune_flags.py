"""The flags of ``tvmc tune`` that say how to search and how to measure."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import arguments


def add_tune_flags(parser: argparse.ArgumentParser) -> None:
    """Add search, records, measurement and remote devices."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("tuning_records"),
        metavar="FOLDER",
        help="where records are written, behind those that are there (default: %(default)s)",
    )
    parser.add_argument(
        "--tuning-records",
        type=Path,
        metavar="FOLDER",
        help="records to go on from besides those of --output",
    )
    parser.add_argument(
        "--trials",
        type=arguments.positive,
        default=1000,
        metavar="N",
        help="measurements at most, of all kernels together (default: %(default)s)",
    )
    parser.add_argument(
        "--early-stopping",
        type=arguments.count,
        metavar="N",
        help="a kernel is done after N trials without improvement (0: never)",
    )
    parser.add_argument(
        "--tasks",
        "--task",
        type=arguments.names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="tune only these kernels or layers, by name, pattern or number, as in 0,2,5-7; comma separated, "
        "repeatable; all is all of them, and list shows them",
    )
    parser.add_argument(
        "--fill-mode",
        choices=("random",),
        help="calibrate on random data, which is enough to measure speed (default without --calibration-data)",
    )
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--number",
        type=arguments.positive,
        default=3,
        metavar="N",
        help="runs in each time at least (default: %(default)s)",
    )
    group.add_argument(
        "--repeat",
        type=arguments.positive,
        default=5,
        metavar="N",
        help="times to take, of which the median counts (default: %(default)s)",
    )
    group.add_argument(
        "--min-repeat-ms",
        type=arguments.count,
        default=5,
        metavar="MS",
        help="what each time covers at least, in more runs where need be (default: %(default)s)",
    )
    group.add_argument(
        "--timeout",
        type=arguments.positive,
        default=10,
        metavar="SECONDS",
        help="give up a candidate that is built, or runs, for longer (default: %(default)s)",
    )
    group.add_argument(
        "--parallel",
        type=arguments.positive,
        metavar="N",
        help="builds side by side (default: as many as there are processors)",
    )
    group.add_argument(
        "--rpc-tracker",
        type=arguments.host_and_port,
        metavar="HOST[:PORT]",
        help="measure on the devices of this tracker, side by side (default port: 9090)",
    )
    group.add_argument("--rpc-key", metavar="KEY", help="the devices' name there")
