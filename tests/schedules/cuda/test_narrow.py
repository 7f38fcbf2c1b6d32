"""Indices of 64 bits in 32: each rule, and what stays wide because it may not fit."""

from __future__ import annotations

import pytest
from tvm import tirx

from tvmq.schedules.cuda.narrow import Narrowing, narrow_buffer
from tvmq.schedules.cuda.vectors import uses

WIDE, SHORT = tirx.Var("i", "int64"), tirx.Var("j", "int32")
DATA = tirx.decl_buffer([tirx.IntImm("int64", 100)], "float32", "data")
PLACES = tirx.decl_buffer([tirx.IntImm("int64", 100)], "int64", "places")
NARROW = Narrowing({WIDE: SHORT}, {DATA: narrow_buffer(DATA), PLACES: narrow_buffer(PLACES)})


def wide(value: int) -> tirx.IntImm:
    return tirx.IntImm("int64", value)


BYTE = tirx.Cast("int64", tirx.Var("byte", "uint8"))


@pytest.mark.parametrize(
    "index",
    [
        wide(7),
        WIDE,
        WIDE + 3,
        WIDE - 3,
        WIDE * 5,
        tirx.floordiv(WIDE, wide(3)),
        tirx.floormod(WIDE, wide(3)),
        tirx.min(WIDE, wide(9)),
        tirx.max(WIDE - 4, wide(0)),
        tirx.if_then_else(WIDE < 5, WIDE, wide(0)),
        tirx.Select(WIDE < 5, WIDE, wide(0)),
        BYTE + WIDE,
        tirx.BufferLoad(PLACES, [WIDE]),
    ],
    ids=str,
)
def test_indices_become_narrow(index: tirx.Expr) -> None:
    narrow = NARROW.index(index)
    assert str(narrow.ty.dtype) == "int32"
    assert not uses(narrow, [WIDE])


@pytest.mark.parametrize(
    "index",
    [
        wide(2**31),
        WIDE * wide(2**31),
        tirx.Var("other", "int64"),
        tirx.Cast("int64", tirx.Var("x", "float32")),
        tirx.Cast("int64", tirx.Var("x", "uint32")),
        tirx.if_then_else(WIDE < 5, WIDE, wide(2**40)),
        tirx.Select(WIDE < 5, wide(-(2**31)), WIDE),
    ],
    ids=str,
)
def test_what_may_not_fit_stays_wide(index: tirx.Expr) -> None:
    assert str(NARROW.index(index).ty.dtype) == "int64"


def test_loads_and_comparisons_count_in_32_bits_and_values_stay() -> None:
    value = NARROW(
        tirx.if_then_else(wide(1) <= WIDE, tirx.BufferLoad(DATA, [WIDE - 1]), tirx.const(0.0, "float32"))
    )
    condition, load, _ = value.args
    assert str(condition.a.ty.dtype) == str(load.indices[0].ty.dtype) == "int32"
    total = NARROW(WIDE + wide(1))
    assert str(total.ty.dtype) == "int64" and isinstance(total.a, tirx.Cast) and total.a.value.same_as(SHORT)
    assert str(NARROW(tirx.Cast("float32", WIDE)).value.ty.dtype) == "int32"


def test_data_of_64_bits_is_compared_in_64() -> None:
    """What is in memory may be any number; only as an index it must be within a tensor."""
    assert str(NARROW(tirx.BufferLoad(PLACES, [WIDE]) < wide(5)).a.ty.dtype) == "int64"
