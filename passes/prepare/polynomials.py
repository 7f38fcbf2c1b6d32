"""Values as polynomials of others, which makes one of all ways to write a formula.

    x * 0.5 * (1 + t),   (x * (1 + t)) / 2,   0.5 * x + 0.5 * (t * x)   -->   {x: 0.5, x t: 0.5}

Additions, subtractions, products, and quotients by numbers are multiplied out, as far as nobody else reads what is
between them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tvm import relax

from ..hub.graph import is_constant, op_name, shape_of, to_numpy
from .rewriting import Scope

Monomial = tuple[relax.Var, ...]
"""A product of variables, in the order of their identity; one of them twice is its square."""

MOST_TERMS = 8
MOST_STEPS = 6
"""How deep formulas are taken apart. Longer ones are none that have a name."""

CLOSE = 2.0**-11
"""How far a coefficient may be off, relative: half a unit in the last place of float16, in which it may have been."""


@dataclass(frozen=True)
class Polynomial:
    """A sum of products.

    Attributes
    ----------
    terms : the factor of each product of variables.
    """

    terms: Mapping[Monomial, float]

    @property
    def variables(self) -> list[relax.Var]:
        """What it is a polynomial of, each once."""
        return list(dict.fromkeys(variable for monomial in self.terms for variable in monomial))

    def equals(self, *terms: tuple[float, Monomial]) -> bool:
        """Tell whether it is the sum of these ``(factor, product)``, each factor within ``CLOSE``."""
        wanted = {_ordered(monomial): factor for factor, monomial in terms}
        return wanted.keys() == self.terms.keys() and all(
            math.isclose(factor, self.terms[monomial], rel_tol=CLOSE) for monomial, factor in wanted.items()
        )


def polynomial(scope: Scope, value: relax.Expr, steps: int = MOST_STEPS) -> Polynomial | None:
    """Return a call or variable as a polynomial; None where its terms are too many, or its operands unlike in shape.

    Parameters
    ----------
    steps : how many operators are taken apart, one behind another.
    """
    call = scope.definition(value) if isinstance(value, relax.Var) else value
    combine = _COMBINE.get(op_name(call)) if steps else None
    if combine is None:
        return Polynomial({(value,): 1.0}) if isinstance(value, relax.Var) else None
    operands = [_operand(scope, operand, call, steps - 1) for operand in call.args]
    found = None if None in operands else combine(*operands)
    if found is None or len(found.terms) > MOST_TERMS:
        return Polynomial({(value,): 1.0}) if isinstance(value, relax.Var) else None
    return found


def _operand(scope: Scope, operand: relax.Expr, call: relax.Call, steps: int) -> Polynomial | None:
    if is_constant(operand):
        numbers = to_numpy(operand)
        fits = numbers.size == 1 and numbers.ndim <= len(shape_of(call)) and numbers.dtype.kind == "f"
        return Polynomial({(): float(numbers.item())}) if fits else None
    if not isinstance(operand, relax.Var) or shape_of(operand) != shape_of(call):
        return None
    return polynomial(scope, operand, steps if scope.used_once(operand) else 0)


def _ordered(monomial: Monomial) -> Monomial:
    return tuple(sorted(monomial, key=hash))


def _sum(left: Polynomial, right: Polynomial) -> Polynomial:
    terms = defaultdict(float, left.terms)
    for monomial, factor in right.terms.items():
        terms[monomial] += factor
    return Polynomial(terms)


def _difference(left: Polynomial, right: Polynomial) -> Polynomial:
    return _sum(left, Polynomial({monomial: -factor for monomial, factor in right.terms.items()}))


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    terms: defaultdict[Monomial, float] = defaultdict(float)
    for one, factor in left.terms.items():
        for other, another in right.terms.items():
            terms[_ordered(one + other)] += factor * another
    return Polynomial(terms)


def _quotient(left: Polynomial, right: Polynomial) -> Polynomial | None:
    number = right.terms.get(())
    if len(right.terms) != 1 or not number:
        return None
    return Polynomial({monomial: factor / number for monomial, factor in left.terms.items()})


_COMBINE = {
    "relax.add": _sum,
    "relax.divide": _quotient,
    "relax.multiply": _product,
    "relax.subtract": _difference,
}
