"""The row of a target: the first in ``targets.rows`` whose architecture and LLVM features the target has."""

from __future__ import annotations

from dataclasses import replace

from tvm.target import Target, codegen

from ..errors import TvmqError
from .cuda.archs import capability
from .host import arch_of_triple
from .row import F32, TargetRow
from .rows import GPU_ROWS, ROWS

DEFAULT_THREADS = 4
"""Threads that kernels are cut up for where the target does not say: enough chunks for most boards and laptops."""


def cpu_of(target: Target) -> Target:
    """Return the target of the code that runs on the CPU: a GPU's host, or the target itself."""
    return target.host if is_gpu(target) and target.host is not None else target


def is_gpu(target: Target) -> bool:
    """Tell whether the kernels run on a GPU."""
    return str(target.kind.name) == "cuda"


def refuse_gpu(target: Target, what: str) -> None:
    """Raise ``TvmqError`` where a target is of a GPU, for which there is none of ``what``: ``"tuning"``."""
    if is_gpu(target):
        raise TvmqError(
            f"there is no {what.removeprefix('a ')} for GPUs: name a CPU, such as {describe(cpu_of(target))!r}"
        )


def arch_of(target: Target) -> str:
    """Return the CPU architecture that a target compiles for: this machine's where it names no triple."""
    return arch_of_triple(triple_of(target))


def triple_of(target: Target) -> str:
    """Return the triple that a target, or its host, names; else this machine's."""
    return str(cpu_of(target).attrs.get("mtriple") or codegen.llvm_get_system_triple())


def features_of(target: Target) -> frozenset[str]:
    """Return the LLVM features of the target's CPU, ``-mattr`` included, such as ``"avx2"``."""
    return frozenset(str(name) for name in codegen.llvm_get_cpu_features(cpu_of(target)))


def threads_of(target: Target) -> int:
    """Return how many threads kernels are cut up for: the target's ``num-cores``, or ``DEFAULT_THREADS``."""
    return int(cpu_of(target).attrs.get("num-cores", 0)) or DEFAULT_THREADS


def describe(target: Target) -> str:
    """Return the target as a user would type it: ``"llvm -mcpu=znver3"``."""
    words = [str(target.kind.name)]
    for name in ("arch", "mtriple", "mcpu", "mattr", "num-cores"):
        if name in target.attrs:
            value = target.attrs[name]
            words.append(f"-{name}={','.join(map(str, value)) if name == 'mattr' else value}")
    if is_gpu(target) and target.host is not None and "mtriple" in target.host.attrs:  # another machine
        words.append(f"-host='{describe(target.host)}'")
    return " ".join(words)


def row_of(target: Target, float_type: str = F32.float_type) -> TargetRow:
    """Return the most capable row that the target fulfils, with the look-ups and products of floats that it has.

    Parameters
    ----------
    float_type : of ``FLOAT_TYPES``: what floats are multiplied in.

    Raises
    ------
    TvmqError : no row is for the target's kind or architecture, or its CPU lacks what every row needs.
    """
    if is_gpu(target):
        return row_of_gpu(str(target.attrs.get("arch", "")))
    if str(target.kind.name) != "llvm":
        raise unsupported_kind(str(target.kind.name))
    arch = arch_of(target)
    rows = [row for row in ROWS if row.arch == arch]
    if not rows:
        raise unsupported_arch(arch)
    features = features_of(target)
    for row in rows:
        if features.issuperset(row.features):
            look_ups = tuple(each for each in row.look_ups if features.issuperset(each.features))
            float_dot = next(
                each
                for each in row.float_dots
                if each.float_type == float_type and features.issuperset(each.features)
            )
            bit_dots = tuple(each for each in row.bit_dots if features.issuperset(each.features))
            return replace(row, look_ups=look_ups, bit_dots=bit_dots, float_dot=float_dot)
    least = rows[-1]
    lacking = ", ".join(sorted(set(least.features) - features))
    raise TvmqError(
        f"target {describe(target)!r} lacks {lacking}, which the kernels for {arch} need at least; "
        "name a CPU that has it with -mcpu (native is this machine's)"
    )


def capability_of(target: Target) -> int:
    """Return ten times the compute capability that a ``cuda`` target names, such as 87 of ``sm_87``."""
    return capability(str(target.attrs.get("arch", "")))


def row_of_gpu(arch: str) -> TargetRow:
    """Return the most capable row of GPUs of an architecture; raise ``TvmqError`` for none."""
    reached = capability(arch)
    for row in GPU_ROWS:
        if row.name == arch or (row.gpu.capability <= reached and not row.gpu.warpgroups):
            return row
    raise TvmqError(
        f"GPUs of {arch or 'an unknown architecture'} have no dot product of 8-bit integers; "
        f"possible: {', '.join(row.name for row in reversed(GPU_ROWS))} and those between and after them"
    )


def unsupported_kind(kind: str, cpu: str = "") -> TvmqError:
    """Return the error for a target kind that has no row; ``cpu`` is the target of its board's CPU, if any."""
    alone = f"; for the CPU of this board: {cpu!r}" if cpu else ""
    return TvmqError(
        f"target kind {kind!r} is not supported yet; possible: llvm ({_architectures()}), cuda{alone}"
    )


def unsupported_arch(arch: str) -> TvmqError:
    """Return the error for an architecture that has no row."""
    return TvmqError(f"target architecture {arch!r} is not supported yet; possible: {_architectures()}")


def _architectures() -> str:
    return ", ".join(dict.fromkeys(row.arch for row in ROWS))
