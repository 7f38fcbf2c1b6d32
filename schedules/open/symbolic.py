"""Functions of one kernel at several sizes --> one function of any size.

    for i in 511: b[i] = a[i]
    for i in 257: b[i] = a[i]     -->     for i in S: b[i] = a[i]

The functions must be alike but for integers, and for reciprocals of them, as means have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock
from tvm.sym import Analyzer

from ...passes.hub.fitting import fit
from ...passes.hub.open_dims import Sizes
from ...ranges import Range

Number = tuple[str, float]
"""Kind and value of a constant in a function: ``int`` or ``float``."""


def unified(
    funcs: Sequence[tirx.PrimFunc],
    points: Sequence[Sizes],
    vars: Mapping[str, tirx.Var],
    ranges: Mapping[str, Range],
) -> tirx.PrimFunc | None:
    """Return the function that each of these is at its point, without parameters for the variables.

    Parameters
    ----------
    ranges : of the variables.

    Returns
    -------
    None where the functions differ in more than numbers, or in numbers that are no simple function of the sizes.
    """
    every = [_numbers(func) for func in funcs]
    if len({len(numbers) for numbers in every}) > 1:
        return None
    together = list(zip(*every, strict=True))
    new: dict[tuple[Number, ...], tirx.Expr] = {}
    for numbers in set(together):
        if len(set(numbers)) > 1:
            expression = _expression(numbers, points, vars)
            if expression is None:
                return None
            new[numbers] = expression
    return _with_plain_indices(_renumbered(funcs[0], together, new), bounds_of(vars, ranges))


def _renumbered(
    func: tirx.PrimFunc,
    together: Sequence[tuple[Number, ...]],
    new: Mapping[tuple[Number, ...], tirx.Expr],
) -> tirx.PrimFunc:
    """Return the function with expressions for those of its numbers that have one."""
    left = iter(together)

    def number(value: tirx.IntImm | tirx.FloatImm) -> tirx.Expr:
        expression = new.get(next(left))
        if expression is None:
            return _copied(value)
        return expression if str(expression.ty) == str(value.ty) else tirx.Cast(value.ty, expression)

    return tvm_ffi.structural_map(func, [((tirx.IntImm, tirx.FloatImm), number)])


def _with_plain_indices(func: tirx.PrimFunc, bounds: Mapping[tirx.Var, tvm.ir.Range]) -> tirx.PrimFunc:
    """Return the function without ``i % S`` and ``i // S`` for ``i < S``, which TVM simplifies for constants alone."""

    def of_block(block: SBlock) -> SBlock:
        analyzer = Analyzer()
        for var, bound in (*bounds.items(), *((axis.var, axis.dom) for axis in block.iter_vars)):
            analyzer.bind(var, bound)

        def is_within(expr: tirx.FloorMod | tirx.FloorDiv) -> bool:
            return not isinstance(expr.b, tirx.IntImm) and analyzer.can_prove(
                tirx.all(expr.a >= 0, expr.a < expr.b)
            )

        def modulo(expr: tirx.FloorMod) -> tirx.Expr:
            return analyzer.simplify(expr.a) if is_within(expr) else expr

        def divided(expr: tirx.FloorDiv) -> tirx.Expr:
            return tirx.const(0, str(expr.ty)) if is_within(expr) else expr

        return tvm_ffi.structural_map(block, [(tirx.FloorMod, modulo), (tirx.FloorDiv, divided)])

    def block_of(block: SBlock) -> SBlock:
        return of_block(block) if block.iter_vars else block

    return tvm_ffi.structural_map(func, [(SBlock, block_of)])


def bounds_of(vars: Mapping[str, tirx.Var], ranges: Mapping[str, Range]) -> dict[tirx.Var, tvm.ir.Range]:
    """Return the values that the variables may have, as TVM takes them."""
    return {
        var: tvm.ir.Range.from_min_extent(ranges[name].low, ranges[name].high - ranges[name].low + 1)
        for name, var in vars.items()
    }


def _numbers(func: tirx.PrimFunc) -> list[Number]:
    """Return the numbers in a function, in the order in which ``_renumbered`` meets them."""
    found: list[Number] = []

    def note(value: tirx.IntImm | tirx.FloatImm) -> tirx.Expr:
        is_integer = isinstance(value, tirx.IntImm)
        found.append(("int", int(value.value)) if is_integer else ("float", value.value))
        return _copied(value)

    tvm_ffi.structural_map(func, [((tirx.IntImm, tirx.FloatImm), note)])
    return found


def _copied(value: tirx.IntImm | tirx.FloatImm) -> tirx.Expr:
    """Return a new object of the same number: where nothing changes, ``structural_map`` takes another way."""
    return type(value)(value.ty, value.value)


def _expression(
    numbers: Sequence[Number], points: Sequence[Sizes], vars: Mapping[str, tirx.Var]
) -> tirx.Expr | None:
    values = [value for _, value in numbers]
    if numbers[0][0] == "int":
        form = fit([int(value) for value in values], points)
        return form and form.expression(vars)
    counts = [round(1 / value) if value else 0 for value in values]
    form = fit(counts, points) if all(map(_is_share, values, counts)) else None
    return form and tirx.const(1.0, "float64") / tirx.Cast("float64", form.expression(vars))


def _is_share(value: float, count: int) -> bool:
    """Tell whether a number is 1 / count, rounded to float32 or not."""
    return count > 0 and value in (1 / count, float(np.float32(1 / count)))
