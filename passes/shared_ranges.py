"""Which pairs should have the same parameters: those whose values are concatenated.

An input of a concatenation that nothing else reads loses nothing by taking the scale of the whole, and then
goes to its place in the result as it is.
"""

from __future__ import annotations

from tvm import IRModule, relax

from .annotate import is_unknown
from .graph import bindings_of, consumers_of, op_name
from .operators import MOVE, OPERATORS


def shared_groups(mod: IRModule) -> list[set[relax.Var]]:
    """Return the groups of variables bound to ``quantize`` that should have one scale and zero point.

    Only pairs whose parameters are unknown are grouped: a group is all of a concatenation's inputs that have
    no other reader, its result, and so on where that is concatenated again.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    readers = consumers_of(mod)
    groups: dict[relax.Var, set[relax.Var]] = {}

    def source(expr: relax.Expr) -> relax.Var | None:
        """Return the ``quantize`` of the value's pair, if it goes nowhere else on its way from there."""
        if len(readers.get(expr, ())) != 1:
            return None
        value = values.get(expr)
        if op_name(value) == "relax.dequantize" and is_unknown(value):
            return value.args[0] if len(readers[value.args[0]]) == 1 else None
        row = OPERATORS.get(op_name(value))
        return source(value.args[0]) if row is not None and row.kind == MOVE else None

    def join(first: relax.Var, second: relax.Var) -> None:
        merged = groups.get(first, {first}) | groups.get(second, {second})
        groups.update(dict.fromkeys(merged, merged))

    for var, value in values.items():
        if op_name(value) != "relax.quantize" or not is_unknown(value):
            continue
        concat = values.get(value.args[0])
        if op_name(concat) != "relax.concat":
            continue
        for item in concat.args[0].fields:
            found = source(item)
            if found is not None:
                join(var, found)
    unique = {id(group): group for group in groups.values()}
    return list(unique.values())
