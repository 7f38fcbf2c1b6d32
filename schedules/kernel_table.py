"""Which of the user's nodes each kernel call computes.

Fusion renames variables and merges functions, but keeps the blocks inside of them. So each call's blocks are marked
with the call's number before fusion, and the marks are read, and taken off again, after it. Marked functions differ,
and so are not shared between equal calls; taking the marks off shares them again.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from ..passes.hub.graph import bindings_of, layer_name, op_name, rebuild
from .blocks import root_blocks
from .schedule import Schedule

CALL = "tvmq.call"

VARIABLE = "layer"
"""How variables are called by number, that of an operator before it is legalized."""


class KernelTable:
    """Marks a module's calls before fusion, and reads the marks after it.

    Made from the module before its operators are legalized, which keeps variables but not the nodes' names: ``mod`` is
    that module, with variables whose names are not those of any that legalization adds.
    """

    def __init__(self, mod: tvm.IRModule) -> None:
        self.mod = rebuild(mod, lambda builder, var, value: builder.emit(value, VARIABLE))
        self._named = {binding.var.name: layer_name(binding.value) for binding in bindings_of(self.mod)}
        self._nodes: list[str] = []
        self._operators: list[str] = []

    def mark(self, mod: tvm.IRModule) -> tvm.IRModule:
        """Return the module with a function of its own for each call, whose last block has the call's number.

        An operator that became several calls has the last one's variable; those before it are its own too.
        """
        first_unnamed = 0

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            nonlocal first_unnamed
            if op_name(value) != "relax.call_tir":
                return value
            sch = Schedule(mod[value.args[0]])
            sch.annotate(root_blocks(sch)[-1], CALL, len(self._nodes))
            self._nodes.append("")
            if var.name in self._named:
                name = layer_name(value) or self._named[var.name]
                self._nodes[first_unnamed:] = [name] * (len(self._nodes) - first_unnamed)
                first_unnamed = len(self._nodes)
            self._operators.append(value.args[0].name_hint)
            return _with_function(builder, value, sch.mod["main"], value.args[0].name_hint)

        return rebuild(mod, rewrite)

    def unmark(self, mod: tvm.IRModule) -> tuple[tvm.IRModule, list[tuple[str, list[str]]]]:
        """Return the module without marks, and for each of its calls the kernel's name and the nodes it computes."""
        calls: list[tuple[tvm.ir.GlobalVar, list[str]]] = []

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if op_name(value) != "relax.call_tir":
                return value
            func, marks = _taken_off(mod[value.args[0]])
            operators = [self._operators[mark] for mark in marks]
            name = operators[0] if len(operators) == 1 else "_".join(["fused", *operators])
            call = _with_function(builder, value, func, name)
            nodes = [self._nodes[mark] for mark in marks]
            calls.append((call.args[0], list(dict.fromkeys(filter(None, nodes)))))
            return call

        unmarked = relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))
        return unmarked, [(var.name_hint, nodes) for var, nodes in calls]


def _with_function(
    builder: relax.BlockBuilder, call: relax.Call, func: tirx.PrimFunc, name: str
) -> relax.Call:
    var = builder.add_func(func.without_attr("global_symbol"), name)
    return relax.Call(call.op, [var, *call.args[1:]], call.attrs, call.ty_args, span=call.span)


def _taken_off(func: tirx.PrimFunc) -> tuple[tirx.PrimFunc, list[int]]:
    sch = Schedule(func)
    marks = []
    for block in root_blocks(sch):
        annotations = sch.get(block).annotations
        if CALL in annotations:
            marks.append(int(annotations[CALL]))
            sch.unannotate(block, CALL)
    return sch.mod["main"], marks
