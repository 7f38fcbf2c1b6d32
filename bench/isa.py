"""Instruction sets that a run can be held to, so that a CPU with VNNI can stand in for one without.

onnxruntime has no such switch: it always uses all that the CPU has, and the tables say so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import TvmqError, unknown
from . import machine


@dataclass(frozen=True)
class Isa:
    """A limit.

    Attributes
    ----------
    name : what users type.
    flag : flag in ``/proc/cpuinfo`` that the CPU must have; empty where any will do.
    onednn : OpenVINO's limit, the value of ``ONEDNN_MAX_CPU_ISA``; empty for none.
    target : tvmq's default target; empty for this CPU's own.
    """

    name: str
    flag: str = ""
    onednn: str = ""
    target: str = ""


ISAS: dict[str, Isa] = {
    row.name: row
    for row in (
        Isa("native"),
        Isa("avx2", "avx2", "AVX2", "llvm -mcpu=znver3"),
    )
}


def get_isa(name: str) -> Isa:
    """Return the row of that name; raises ``TvmqError`` for an unknown one, or one that this CPU lacks."""
    if name not in ISAS:
        raise unknown("instruction set", name, ISAS)
    isa = ISAS[name]
    if isa.flag and isa.flag not in machine.instruction_sets():
        raise TvmqError(
            f"--isa {name}: this CPU has only {', '.join(machine.instruction_sets()) or 'none of them'}"
        )
    return isa


def limit_peers(isa: Isa) -> None:
    """Hold the peers that can be held to the instruction set; must precede their first use in the process."""
    if isa.onednn:
        os.environ["ONEDNN_MAX_CPU_ISA"] = isa.onednn


def default_target(isa: Isa) -> str:
    """Return the target string that tvmq compiles for."""
    if isa.target:
        return isa.target
    from tvm.target import codegen

    return f"llvm -mcpu={codegen.llvm_get_system_cpu()}"
