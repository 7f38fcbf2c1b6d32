"""From a Relax module to the code and the plan of a C library: ``pipeline.build`` without the virtual machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tvm
import tvm_ffi
from tvm import tirx

from ...passes.hub.empty import allocate_empty
from ...targets.row import TargetRow
from ..code import compile_parts
from ..pipeline import into_destinations, to_scheduled_kernels
from .calls import calls_of, refusal
from .functions import SCRATCH, lower_to_c
from .plan import Plan, make_plan

RUNTIME_CALL = "tirx.tvm_call_"
"""How the names of calls begin that only TVM's runtime answers."""


@dataclass(frozen=True)
class BuiltForC:
    """What ``build_for_c`` made.

    Attributes
    ----------
    code : modules of machine code; a kernel's symbol is its name behind the prefix.
    plan : what calls them.
    kernels, mod : as of ``pipeline.Built``.
    """

    code: list[tvm.runtime.Module]
    plan: Plan
    kernels: list[tuple[str, list[str]]]
    mod: tvm.IRModule


def build_for_c(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    row: TargetRow,
    records: Path | None = None,
    prefix: str = "",
) -> BuiltForC:
    """Compile a Relax module as ``pipeline.build`` does, to functions of one thread.

    Parameters
    ----------
    prefix : what the symbols of kernels begin with.

    Raises
    ------
    TvmqError : as ``build`` does; or the module needs TVM's runtime, and the message names the layer.
    """
    mod, kernels = to_scheduled_kernels(mod, target, row, records)
    with target:
        planned = into_destinations()(allocate_empty(mod))
    calls = calls_of(planned["main"], planned["main"].params)
    functions = {name: planned[name] for name in dict(calls.kernels)}
    layers = dict(kernels)
    for name, func in functions.items():
        for call in _runtime_calls(func):
            raise refusal(repr(call), layers[name])
    named = {name: func.with_attr("global_symbol", prefix + name) for name, func in functions.items()}
    parts = compile_parts(tvm.IRModule(named), target, lower_to_c)
    lowered = {var.name_hint: func for part, _ in parts for var, func in part.functions.items()}
    plan = make_plan(calls, {name: tuple(map(int, func.attrs[SCRATCH])) for name, func in lowered.items()})
    return BuiltForC([code for _, code in parts], plan, kernels, mod)


def _runtime_calls(func: tirx.PrimFunc) -> list[str]:
    """Return what the function calls in TVM's runtime, such as ``"tvm.contrib.sort.argsort"``."""
    found: list[str] = []

    def visit(call: tvm.ir.Call) -> None:
        if isinstance(call.op, tvm.ir.Op) and call.op.name.startswith(RUNTIME_CALL):
            found.append(str(call.args[0].value))

    tvm_ffi.structural_walk(func.body, [(tvm.ir.Call, visit)])
    return found
