"""A program in operators that have converters, as far as torch can write the others by them."""

from __future__ import annotations

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
    return program.run_decompositions(table)
