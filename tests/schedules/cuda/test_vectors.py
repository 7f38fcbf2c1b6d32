"""Which loads and stores are made in vectors."""

from __future__ import annotations

import re

import pytest
from tvm import te, tirx

from tvmq.schedules.cuda.definition import substituted
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.cuda.vectors import Lane, analyzer_of, place_of, uses

from .te_kernels import ROW, placeholder

LARGE = 1 << 20
"""Elements of which a thread has a whole vector."""


def widths(func: tirx.PrimFunc) -> tuple[set[int], set[int]]:
    """Return the bytes of the vectors that are loaded, and stored."""
    text = str(cuda_kernel(func, ROW))
    return tuple(
        {int(size) for size in re.findall(rf"tvmq_{name}_(\d+)", text)} for name in ("load_const", "store")
    )


def move(offset: int, dtype: str, channels: int = 16) -> tirx.PrimFunc:
    """``y[i, c] = x[i * channels + c + offset]``"""
    x = placeholder((LARGE * channels + offset,), dtype)
    return te.create_prim_func(
        [x, te.compute((LARGE, channels), lambda i, c: x(i * channels + c + offset), "y")]
    )


@pytest.mark.parametrize(
    ("offset", "channels", "dtype", "load", "store"),
    [
        (0, 16, "int8", {16}, {16}),
        (16, 16, "int8", {16}, {16}),
        (8, 16, "int8", {8}, {16}),
        (4, 16, "int8", {4}, {16}),
        (1, 16, "int8", set(), {16}),
        (0, 12, "int8", {4}, {4}),
        (0, 5, "int8", set(), set()),
        (0, 7, "float32", set(), set()),
        (0, 31, "int8", set(), set()),
        (0, 6, "float16", {4}, {4}),
        (2, 16, "float32", {8}, {16}),
        (0, 16, "int64", {16}, {16}),
    ],
)
def test_vectors_are_as_wide_as_the_places_are_aligned(
    offset: int, channels: int, dtype: str, load: set[int], store: set[int]
) -> None:
    loads, stores = widths(move(offset, dtype, channels))
    assert (loads - {1}, stores) == (load, store)


def test_what_runs_backwards_or_apart_is_loaded_one_by_one() -> None:
    x = placeholder((LARGE, 16), "int8")
    for at in (lambda i, c: x(i, 15 - c), lambda i, c: x(i, c // 2), lambda i, c: x((i * 16 + c) % LARGE, 0)):
        loads, stores = widths(te.create_prim_func([x, te.compute(x.shape, at, "y")]))
        assert not loads and stores == {16}


@pytest.mark.parametrize(("is_of_lane", "expected"), [(False, {16}), (True, set())])
def test_a_condition_of_the_lane_keeps_loads_apart(is_of_lane: bool, expected: set[int]) -> None:
    x = placeholder((LARGE, 16), "int8")

    def element(i: tirx.Var, c: tirx.Var) -> tirx.Expr:
        return tirx.if_then_else((c if is_of_lane else i) < 9, x(i, c), tirx.const(0, "int8"))

    assert widths(te.create_prim_func([x, te.compute(x.shape, element, "y")]))[0] == expected


def test_lanes() -> None:
    row, var = tirx.Var("row", "int32"), tirx.Var("lane", "int32")
    lane = Lane(var, 8, analyzer_of({row: 100, var: 8}))
    assert lane.runs_along(row * 8 + var) and not lane.runs_along(row * 8 + 2 * var)
    assert [lane.together(row * 8 + var + offset, 16) for offset in (0, 4, 2, 1)] == [8, 4, 2, 1]
    assert lane.together(row * 8 + var, 4) == 4 and lane.together(row * 12 + var, 16) == 4
    assert lane.varies(var + 1) and not lane.varies(row) and uses(row + var, [row])


def test_places() -> None:
    flat = tirx.Var("flat", "int32")
    analyzer = analyzer_of({flat: 24})
    places = [analyzer.simplify(place) for place in place_of(flat, [2, 3, 4])]
    for number in range(24):
        found = [int(analyzer.simplify(place)) for place in _at(places, flat, number)]
        assert found == [number // 12, number // 4 % 3, number % 4]
    assert place_of(flat, []) == []


def _at(places: list[tirx.Expr], var: tirx.Var, number: int) -> list[tirx.Expr]:
    return [substituted(place, {var: tirx.const(number, "int32")}) for place in places]
