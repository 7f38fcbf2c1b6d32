"""NVIDIA's names of GPU architectures: ``sm_80`` is compute capability 8.0; ``sm_90a`` has what only that chip has."""

from __future__ import annotations

import re

from ...errors import TvmqError, unknown
from .driver import capabilities_by_program

ARCHS = tuple(
    "sm_20 sm_21 sm_30 sm_32 sm_35 sm_37 sm_50 sm_52 sm_53 sm_60 sm_61 sm_62 sm_70 sm_72 sm_75 sm_80 sm_86 sm_87 sm_88 "
    "sm_89 sm_90 sm_90a sm_100 sm_100a sm_100f sm_101 sm_101a sm_101f sm_103 sm_103a sm_103f sm_110 sm_110a sm_110f "
    "sm_120 sm_120a sm_120f sm_121 sm_121a sm_121f".split()
)
"""All that there are."""

_FORM = re.compile(r"sm_(\d+)[af]?")


def check_arch(arch: str) -> None:
    """Raise ``TvmqError`` unless there is such an architecture."""
    if not _FORM.fullmatch(arch):
        digits = "".join(filter(str.isdigit, arch))
        meant = f"sm_{digits}" if f"sm_{digits}" in ARCHS else "sm_80"
        raise TvmqError(f"GPU architecture {arch!r} must have the form sm_XX, such as {meant}")
    if arch not in ARCHS:
        raise unknown("GPU architecture", arch, ARCHS)


def capability(arch: str) -> int:
    """Return ten times the compute capability of an architecture: 90 of ``sm_90a``."""
    match = _FORM.fullmatch(arch)
    return int(match[1]) if match else 0


def arch_here() -> str:
    """Return the architecture of this machine's first GPU, with all that it has; raise ``TvmqError`` for none."""
    found = capabilities_by_program()
    if not found:
        raise TvmqError(
            "the target 'cuda' is this machine's GPU, and there is none (or no driver, libcuda.so.1): "
            "name the architecture, as in 'cuda -arch=sm_86' or 'nvidia/geforce-rtx-3090'"
        )
    return "sm_90a" if found[0] == 90 else f"sm_{found[0]}"
