"""What the machine that runs us is: its architecture and the instruction sets that Linux reports.

A package names what it needs in LLVM's words; ``/proc/cpuinfo`` has its own. One table an architecture pairs
the two, for the features that generated code can use; scheduling hints and system instructions decide
nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

# Other names of an architecture, from Python's platform module and from LLVM's triples.
_ALIASES = {
    **dict.fromkeys(("amd64", "x64", "x86_64h"), "x86_64"),
    **dict.fromkeys(("arm64", "arm64e"), "aarch64"),
    **dict.fromkeys(("armhf", "armv7", "armv7a", "armv7l", "thumbv7", "thumbv7a"), "arm"),
}

# LLVM's feature name -> the name in /proc/cpuinfo.
FEATURES: dict[str, dict[str, str]] = {
    "x86_64": {
        "sse3": "pni",
        "ssse3": "ssse3",
        "sse4.1": "sse4_1",
        "sse4.2": "sse4_2",
        "sse4a": "sse4a",
        "avx": "avx",
        "avx2": "avx2",
        "fma": "fma",
        "f16c": "f16c",
        "bmi": "bmi1",
        "bmi2": "bmi2",
        "lzcnt": "abm",
        "popcnt": "popcnt",
        "movbe": "movbe",
        "gfni": "gfni",
        "avxvnni": "avx_vnni",
        "avx512f": "avx512f",
        "avx512cd": "avx512cd",
        "avx512bw": "avx512bw",
        "avx512dq": "avx512dq",
        "avx512vl": "avx512vl",
        "avx512ifma": "avx512ifma",
        "avx512vbmi": "avx512vbmi",
        "avx512vbmi2": "avx512_vbmi2",
        "avx512bitalg": "avx512_bitalg",
        "avx512vpopcntdq": "avx512_vpopcntdq",
        "avx512vnni": "avx512_vnni",
        "avx512bf16": "avx512_bf16",
        "avx512fp16": "avx512_fp16",
        "amx-tile": "amx_tile",
        "amx-int8": "amx_int8",
    },
    "aarch64": {
        "neon": "asimd",
        "fp-armv8": "fp",
        "lse": "atomics",
        "rdm": "asimdrdm",
        "fullfp16": "asimdhp",
        "fp16fml": "asimdfhm",
        "dotprod": "asimddp",
        "i8mm": "i8mm",
        "bf16": "bf16",
        "sve": "sve",
        "sve2": "sve2",
    },
    "arm": {"neon": "neon", "vfp4": "vfpv4"},
}
"""``runtime/cpp/machine.cc`` has the same rows for programs without Python."""


def architecture() -> str:
    """Return the machine's architecture in LLVM's words, such as ``"x86_64"`` or ``"aarch64"``."""
    return arch_of_triple(platform.machine())


def arch_of_triple(triple: str) -> str:
    """Return the architecture of an LLVM triple, such as ``"aarch64"`` of ``"arm64-apple-macos"``."""
    arch = triple.partition("-")[0].lower()
    return _ALIASES.get(arch, arch)


def required_features(arch: str, llvm_features: Iterable[str]) -> list[str]:
    """Return those of LLVM's feature names that a machine must have to run the code, sorted.

    An architecture without a table has none: only its name is compared.
    """
    return sorted(FEATURES.get(arch, {}).keys() & set(llvm_features))


def missing_features(arch: str, llvm_features: Iterable[str]) -> list[str]:
    """Return those of the features that this machine lacks, sorted; none where Linux does not tell."""
    present = _cpuinfo_flags(arch)
    if not present:
        return []
    names = FEATURES.get(arch, {})
    return sorted(name for name in llvm_features if name in names and names[name] not in present)


def _cpuinfo_flags(arch: str) -> frozenset[str]:
    """Return the flags of the first processor; empty where there is no ``/proc/cpuinfo`` of the architecture.

    Some emulators show that of the machine which they run on.
    """
    wanted = "flags" if arch == "x86_64" else "features"
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() == wanted:
            return frozenset(value.split())
    return frozenset()
