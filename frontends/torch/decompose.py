"""A program in operators that have converters, as far as torch can write the others by them."""

from __future__ import annotations

from typing import Any

from torch._decomp import decomposition_table
from torch.export import ExportedProgram, default_decompositions

from .converters.table import CONVERTERS


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """Return the program without operators that change tensors, and without those that torch writes by others.

    It shares the weights of the one that is given.
    """
    table = default_decompositions()
    for operator in list(table):
        if str(operator) in CONVERTERS:
            del table[operator]
    simple = program.run_decompositions(table)
    # What torch's core operators have a decomposition of all the same, such as addmv.
    more = {operator: decomposition_table[operator] for operator in _unknown(simple)}
    return simple.run_decompositions({**table, **more}) if more else simple


def _unknown(program: ExportedProgram) -> set[Any]:
    """Return the operators without a converter that torch can write by others; not by those of its own compiler."""
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    return {
        target
        for target in targets
        if str(target) not in CONVERTERS
        and target in decomposition_table
        and not decomposition_table[target].__module__.startswith("torch._refs")
    }
