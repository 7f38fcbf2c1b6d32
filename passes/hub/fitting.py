"""An integer that depends on open dimensions, as an expression, from its values at some sizes.

    at S = 512, 511, 449, 5:    513, 512, 450, 6   -->   S + 1
                                 64,  64,  57, 1   -->   (S + 7) // 8

Any of ``a x + b``, ``m ceil(x / c)``, ``m (x // c)`` and ``x % c`` for a power of two c, of one dimension; of two,
``a x y`` and ``a x + b y + c``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx

from .open_dims import BLOCK, Sizes
from .packing import ceil_div


@dataclass(frozen=True)
class Form:
    """One way in which an integer may depend on sizes: of numbers, and of expressions."""

    value: Callable[[Sizes], int]
    expression: Callable[[Mapping[str, tirx.Var]], tirx.Expr]


def fit(values: Sequence[int], points: Sequence[Sizes]) -> Form | None:
    """Return the first form that has these values at these points; None where there is none.

    Parameters
    ----------
    points : as ``open_dims.points_of`` makes them: one, and those that differ from it in one dimension or two.
    """
    first = points[0]
    matters = [
        name
        for name in first
        if any(
            value != values[0]
            for value, point in zip(values, points, strict=True)
            if all(point[other] == first[other] for other in first if other != name)
        )
    ]
    forms: Iterator[Form] = iter(())
    if len(matters) == 1:
        (name,) = matters
        own = [point[name] for point in points]
        forms = _of_one(name, list(dict(zip(own, values, strict=True)).items()))
    elif len(matters) == 2:
        forms = _of_two(matters[0], matters[1], values, points)
    elif not matters:
        forms = iter([_constant(values[0])])
    fitting = (
        form
        for form in forms
        if all(form.value(point) == value for point, value in zip(points, values, strict=True))
    )
    return next(fitting, None)


def _constant(value: int) -> Form:
    return Form(lambda sizes: value, lambda vars: tirx.IntImm("int64", value))


def _of_one(name: str, found: list[tuple[int, int]]) -> Iterator[Form]:
    (size, value), (other_size, other_value) = found[:2]
    slope, rest = divmod(value - other_value, size - other_size)
    if rest == 0:
        yield _affine({name: slope}, value - slope * size)
    cut = 2
    while cut <= 2 * BLOCK:
        if value % max(1, ceil_div(size, cut)) == 0:
            yield _rounded(name, value // ceil_div(size, cut), cut, cut - 1)
        if size >= cut and value % (size // cut) == 0:
            yield _rounded(name, value // (size // cut), cut, 0)
        yield _remainder(name, cut)
        cut *= 2


def _affine(slopes: Mapping[str, int], rest: int) -> Form:
    def value(sizes: Sizes) -> int:
        return sum(slope * sizes[name] for name, slope in slopes.items()) + rest

    def expression(vars: Mapping[str, tirx.Var]) -> tirx.Expr:
        terms = [vars[name] if slope == 1 else vars[name] * slope for name, slope in slopes.items()]
        total = sum(terms[1:], terms[0])
        return total + rest if rest else total

    return Form(value, expression)


def _rounded(name: str, times: int, cut: int, more: int) -> Form:
    def expression(vars: Mapping[str, tirx.Var]) -> tirx.Expr:
        part = (vars[name] + more) // cut if more else vars[name] // cut
        return part if times == 1 else part * times

    return Form(lambda sizes: (sizes[name] + more) // cut * times, expression)


def _remainder(name: str, cut: int) -> Form:
    return Form(lambda sizes: sizes[name] % cut, lambda vars: vars[name] % cut)


def _of_two(one: str, two: str, values: Sequence[int], points: Sequence[Sizes]) -> Iterator[Form]:
    first, area = points[0], points[0][one] * points[0][two]
    if values[0] % area == 0:
        times = values[0] // area
        yield Form(
            lambda sizes: sizes[one] * sizes[two] * times,
            lambda vars: vars[one] * vars[two] if times == 1 else vars[one] * vars[two] * times,
        )
    slopes = {}
    for name in (one, two):
        place = next(
            index
            for index, point in enumerate(points)
            if point[name] != first[name]
            and all(point[each] == first[each] for each in first if each != name)
        )
        slopes[name], rest = divmod(values[0] - values[place], first[name] - points[place][name])
        if rest:
            return
    yield _affine(slopes, values[0] - sum(slope * first[name] for name, slope in slopes.items()))
