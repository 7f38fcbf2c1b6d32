"""What the figures were measured on: the CPU, its instruction sets, the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from ..errors import TvmqError

INSTRUCTION_SETS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
)
"""The flags of ``/proc/cpuinfo`` that matter for integer kernels."""


def _cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor in ``/proc/cpuinfo``; empty where there is no such file."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    lines = (line.partition(":") for line in file.read_text().split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def instruction_sets() -> tuple[str, ...]:
    """Return which of ``INSTRUCTION_SETS`` this CPU has."""
    fields = _cpuinfo()
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return tuple(name for name in INSTRUCTION_SETS if name in flags)


def cpu_name() -> str:
    """Return the CPU's model name, with family and model number where the name alone says little."""
    fields = _cpuinfo()
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" not in fields:
        return name
    return f"{name} (family {fields['cpu family']}, model {fields['model']})"


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of distributions.

    Raises
    ------
    TvmqError : one is not installed.
    """
    try:
        return {package: importlib.metadata.version(package) for package in packages}
    except importlib.metadata.PackageNotFoundError as error:
        raise TvmqError(f"{error.name} is not installed: pip install 'tvmq[bench]'") from error


def describe() -> dict[str, object]:
    """Return what identifies the machine and its state, JSON values only."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "instruction_sets": list(instruction_sets()),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 2),
    }
