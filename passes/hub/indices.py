"""Which values of an input pick a row of a table, and how many rows there are.

    take(table[30522, 384], ids)                                 -->  ids: 0 .. 30521
    take(table[30522, 384], where(ids < 0, ids + 30522, ids))    -->  ids: -30522 .. 30521

Kernels read the nearest row for any other index, which no model means.
"""

from __future__ import annotations

from tvm import IRModule, relax

from .graph import bindings_of, is_constant, op_name, shape_of, to_numpy

SAME_VALUES = frozenset(
    f"relax.{name}" for name in ("astype", "expand_dims", "flatten", "permute_dims", "reshape", "squeeze")
)
"""Operators that leave the values what they are, as far as an index is concerned."""


def index_ranges(mod: IRModule) -> dict[str, tuple[int, int]]:
    """Return the least and the greatest value of each input that is an index as it stands, by the input's name."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    params = set(mod["main"].params)
    found: dict[str, tuple[int, int]] = {}
    for call in values.values():
        if op_name(call) != "relax.take" or call.attrs.mode != "fast" or call.attrs.axis is None:
            continue
        rows = shape_of(call.args[0])[int(call.attrs.axis)]
        index, is_from_end = _source(values, call.args[1], rows)
        if index in params:
            low, high = found.get(index.name, (-rows, rows - 1))
            found[index.name] = (max(low, -rows if is_from_end else 0), min(high, rows - 1))
    return found


def _source(values: dict[relax.Var, relax.Expr], index: relax.Expr, rows: int) -> tuple[relax.Expr, bool]:
    """Return what an index is made of, and whether numbers below 0 count from the end."""
    is_from_end = False
    while isinstance(index, relax.Var) and index in values:
        call = values[index]
        if op_name(call) in SAME_VALUES:
            index = call.args[0]
        elif _wraps(values, call, rows):
            index, is_from_end = call.args[2], True
        else:
            break
    return index, is_from_end


def _wraps(values: dict[relax.Var, relax.Expr], call: relax.Expr, rows: int) -> bool:
    """Tell whether the call is ``where(index < 0, index + rows, index)``."""
    if op_name(call) != "relax.where":
        return False
    is_below, is_moved = (values.get(argument, argument) for argument in call.args[:2])
    index = call.args[2]
    return (
        op_name(is_below) == "relax.less"
        and op_name(is_moved) == "relax.add"
        and all(each.args[0].same_as(index) for each in (is_below, is_moved))
        and [_number(each.args[1]) for each in (is_below, is_moved)] == [0, rows]
    )


def _number(expr: relax.Expr) -> int | None:
    return int(to_numpy(expr).item()) if is_constant(expr) and to_numpy(expr).size == 1 else None
