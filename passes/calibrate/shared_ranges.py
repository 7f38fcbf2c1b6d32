"""Which pairs should have the same parameters: those whose values are concatenated.

An input of a concatenation that nothing else reads loses nothing by taking the scale of the whole, and then
goes to its place in the result as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import IRModule, relax

from ..hub.graph import bindings_of, consumers_of, op_name
from ..hub.operators import MOVE, OPERATORS
from ..hub.pairs import ActivationPair


def shared_groups(mod: IRModule, pairs: Sequence[ActivationPair]) -> list[set[str]]:
    """Return the groups of pairs, by name, that should have one scale and zero point.

    Only the given pairs are grouped: a group is all of a concatenation's inputs that have no other reader and as
    many bits, its result, and so on where that is concatenated again.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    readers = consumers_of(mod)
    by_result = {pair.dequantize: pair for pair in pairs}
    groups: dict[str, set[str]] = {}

    def source(expr: relax.Expr) -> ActivationPair | None:
        """Return the value's pair, if it goes nowhere else on its way from there."""
        if len(readers.get(expr, ())) != 1:
            return None
        if expr in by_result:
            return by_result[expr]
        value = values.get(expr)
        row = OPERATORS.get(op_name(value))
        return source(value.args[0]) if row is not None and row.kind == MOVE else None

    def join(first: str, second: str) -> None:
        merged = groups.get(first, {first}) | groups.get(second, {second})
        groups.update(dict.fromkeys(merged, merged))

    for pair in pairs:
        concat = values.get(pair.source)
        if op_name(concat) != "relax.concat":
            continue
        for item in concat.args[0].fields:
            found = source(item)
            if found is not None and found.bits == pair.bits:
                join(pair.name, found.name)
    unique = {id(group): group for group in groups.values()}
    return list(unique.values())
