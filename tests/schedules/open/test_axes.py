"""Along which axes kernels are cut, and along which not."""

from __future__ import annotations

import pytest
import tvm
from tvm import te, tirx, topi

from tvmq.schedules.open.axes import axes_of

S, N = (tirx.Var(name, "int64") for name in "SN")
BOUNDS = {var: tvm.ir.Range.from_min_extent(1, 100) for var in (S, N)}


def func_of(define, *shapes):
    given = [te.placeholder(shape, "float32", name=f"x{place}") for place, shape in enumerate(shapes)]
    return te.create_prim_func([*given, define(*given)])


def found(define, *shapes):
    axes = axes_of(func_of(define, *shapes), BOUNDS)
    return None if axes is None else [(str(axis.extent), axis.places) for axis in axes]


def summed(x, axis):
    return topi.sum(x, axis=axis)


@pytest.mark.parametrize(
    ("define", "shapes", "expected"),
    [
        (lambda x, y: topi.add(x, y), [(S, 8), (8,)], [("S", ((0, 0), (2, 0)))]),
        (lambda x: topi.transpose(x, (0, 2, 1)), [(1, S, 8)], [("S", ((0, 1), (1, 2)))]),
        (lambda x: summed(x, 1), [(S, 8)], [("S", ((0, 0), (1, 0)))]),
        (
            lambda x, y: topi.add(x, y),
            [(N, S, 8), (S, 8)],
            [("N", ((0, 0), (2, 0))), ("S", ((0, 1), (1, 0), (2, 1)))],
        ),
        # The first rows of a table of any length.
        (
            lambda x, table: te.compute((S, 8), lambda s, i: x[s, i] + table[s, i]),
            [(S, 8), (100, 8)],
            [("S", ((0, 0), (1, 0), (2, 0)))],
        ),
        (lambda x: topi.nn.relu(x), [(4, 8)], []),
        (lambda x: te.compute((S,), lambda s: x[s, s]), [(S, S)], [("S", ((0, 0), (0, 1), (1, 0)))]),
        # Padding asks for its own rows alone.
        (
            lambda x: te.compute((S, 8), lambda s, i: te.if_then_else(s < S, x[s, i], 0.0)),
            [(S, 8)],
            [("S", ((0, 0), (1, 0)))],
        ),
    ],
)
def test_axes(define, shapes, expected):
    assert found(define, *shapes) == expected


@pytest.mark.parametrize(
    ("define", "shapes"),
    [
        (lambda x: summed(x, 0), [(S, 8)]),  # summed up along it
        (lambda x: te.compute((S, 8), lambda s, i: x[S - 1 - s, i]), [(S, 8)]),  # an index computed from it
        (
            lambda x: te.compute((S, 8), lambda s, i: te.if_then_else(s < 3, x[s, i], 0.0)),
            [(S, 8)],
        ),  # a place on it
        (lambda x: te.compute((S, 8), lambda s, i: x[s, i] * s.astype("float32")), [(S, 8)]),
    ],
)
def test_what_cannot_be_cut(define, shapes):
    assert found(define, *shapes) is None


def test_two_axes_of_one_size_are_two():
    axes = found(lambda x, y: te.compute((S, S), lambda i, j: x[i] + y[j]), (S,), (S,))
    assert axes == [("S", ((0, 0), (2, 0))), ("S", ((1, 0), (2, 1)))]
