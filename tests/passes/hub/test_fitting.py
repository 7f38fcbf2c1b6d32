"""Integers at some sizes become the expression that they are."""

from __future__ import annotations

import pytest
import tvm
import tvm_ffi
from tvm import tirx
from tvm.sym import Analyzer

from tvmq.passes.hub.fitting import fit
from tvmq.passes.hub.open_dims import points_of
from tvmq.ranges import Range

FORMS = {
    "S": lambda s: s,
    "S + 1": lambda s: s + 1,
    "12 S": lambda s: 12 * s,
    "3 S - 2": lambda s: 3 * s - 2,
    "ceil(S / 8)": lambda s: -(-s // 8),
    "4 ceil(S / 4)": lambda s: -(-s // 4) * 4,
    "2 ceil(S / 16)": lambda s: -(-s // 16) * 2,
    "S // 16": lambda s: s // 16,
    "S % 8": lambda s: s % 8,
    "7": lambda s: 7,
}


VARS = {name: tirx.Var(name, "int64") for name in ("N", "S")}


def value_of(expression, **sizes):
    numbers = {VARS[name]: tirx.IntImm("int64", size) for name, size in sizes.items()}
    found = tvm_ffi.structural_map(expression, [(tvm.ir.Var, lambda var: numbers.get(var, var))])
    return int(Analyzer().simplify(found))


@pytest.mark.parametrize("high", [512, 384, 77, 40])
@pytest.mark.parametrize("name", FORMS)
def test_one_dimension(name, high):
    points = points_of({"S": Range(1, high)})
    form = fit([FORMS[name](point["S"]) for point in points], points)
    assert form is not None
    for size in (1, 2, 3, 7, 8, 9, high // 2, high - 1, high):
        assert form.value({"S": size}) == FORMS[name](size)
        assert value_of(form.expression(VARS), S=size) == FORMS[name](size)


@pytest.mark.parametrize(
    "of",
    [
        lambda n, s: n,
        lambda n, s: 4 * s,
        lambda n, s: n * s,
        lambda n, s: 12 * n * s,
        lambda n, s: 2 * n + s + 3,
        lambda n, s: -(-s // 8),
    ],
)
def test_two_dimensions(of):
    points = points_of({"N": Range(1, 8), "S": Range(1, 128)})
    form = fit([of(point["N"], point["S"]) for point in points], points)
    assert form is not None
    for n, s in ((1, 1), (3, 100), (8, 17)):
        assert form.value({"N": n, "S": s}) == of(n, s) == value_of(form.expression(VARS), N=n, S=s)


def test_what_is_none_of_these():
    points = points_of({"S": Range(1, 128)})
    assert fit([point["S"] ** 2 + 1 for point in points], points) is None
    two = points_of({"N": Range(1, 8), "S": Range(1, 128)})
    assert fit([point["S"] ** point["N"] for point in two], two) is None
