"""Conversions by additions give what instructions give, up to where it does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import te, tirx

from tests.gpu import gpu
from tvmq.passes.hub.arithmetic import ACCUMULATOR_LIMIT, Output
from tvmq.passes.realize.compute.epilogue import Conversion
from tvmq.targets.row import ConvertBy
from tvmq.targets.rows import GPU_ROWS, PORTABLE

LIMIT = ACCUMULATOR_LIMIT
KNOWN = Conversion(ConvertBy.ADDITION, largest=LIMIT - 1, largest_rounded=LIMIT - 1)
KINDS = {
    "instructions": Conversion(),
    "instructions, known": Conversion(largest=LIMIT, largest_rounded=LIMIT),
    "additions": Conversion(ConvertBy.ADDITION),
    "additions, known": KNOWN,
    "a GPU's": Conversion(ConvertBy.DEVICE),
    "a GPU's, known": Conversion(ConvertBy.DEVICE, LIMIT - 1, LIMIT - 1),
    "a GPU's, from an offset": Conversion(ConvertBy.DEVICE, LIMIT - 1, LIMIT - 1, from_offset=True),
    "additions, from an offset": Conversion(ConvertBy.ADDITION, LIMIT - 1, LIMIT - 1, from_offset=True),
}
kinds = pytest.mark.parametrize("conversion", KINDS.values(), ids=KINDS)


def halves_of(numbers: te.Tensor, convert) -> te.Tensor:
    """Return what becomes of the products of numbers and a half: nothing may round only once, behind the product."""
    half = tirx.const(0.5, "float32")
    return te.compute(numbers.shape, lambda i: convert(numbers[i] * half), name="y")


@pytest.fixture
def row(request):
    """The numbers are the same on every row; a GPU has conversions of its own."""
    conversion = request.node.callspec.params.get("conversion")
    by = request.node.callspec.params.get("by") if conversion is None else conversion.by
    if by is not ConvertBy.DEVICE:
        yield PORTABLE
        return
    with gpu():
        yield next(row for row in GPU_ROWS if row.name == "sm_80")


@kinds
def test_rounding_is_exact(run_kernel, conversion):
    halves = np.arange(-999.5, 1000, 0.5, dtype=np.float32)
    ends = np.arange(LIMIT - 99, LIMIT - 1, 0.5, dtype=np.float32)
    tiny = np.array([-0.0, 1e-40, -1e-40, 0.49999997, -0.49999997], np.float32)
    numbers = np.concatenate([halves, ends, -ends, tiny])
    found = run_kernel(lambda data: halves_of(data, conversion.to_int), [2 * numbers])
    np.testing.assert_array_equal(found, np.rint(numbers).astype(np.int32))


@pytest.mark.parametrize(
    "conversion",
    [Conversion(), Conversion(ConvertBy.ADDITION), Conversion(ConvertBy.DEVICE)],
    ids=["instructions", "additions", "a GPU's"],
)
def test_what_is_beyond_stays_beyond(run_kernel, conversion):
    numbers = np.array([LIMIT + 1, 2.0**23, 2.0**23 + 2, 1e9, 1e38, np.inf], np.float32)
    found = run_kernel(
        lambda data: halves_of(data, conversion.to_int), [2 * np.concatenate([numbers, -numbers])]
    )
    above, below = np.split(found, 2)
    assert (above >= LIMIT).all() and (below <= -LIMIT).all()


@kinds
def test_integers_become_floats(run_kernel, conversion):
    numbers = np.concatenate(
        [np.arange(-999, 1000), np.arange(LIMIT - 99, LIMIT), np.arange(1 - LIMIT, 100 - LIMIT)]
    )
    numbers = numbers.astype(np.int32)

    def define(data: te.Tensor) -> te.Tensor:
        return te.compute(data.shape, lambda i: conversion.to_float(data[i]), name="y")

    started = numbers + conversion.start(np.zeros(1, np.int32))
    np.testing.assert_array_equal(run_kernel(define, [started]), numbers.astype(np.float32))


@pytest.mark.parametrize("zero_point", [-128, -3, 0, 4, 127])
@pytest.mark.parametrize("largest", [30_000, LIMIT - 1])
@pytest.mark.parametrize("by", list(ConvertBy))
def test_outputs_are_narrowed(run_kernel, zero_point, largest, by):
    """Ties go to the even integer before an odd zero point comes to it; bounds lie inside of the dtype."""
    conversion = Conversion(by, largest, largest, from_offset=True)
    out = Output("int8", zero_point, max(zero_point - 100, -128), 100)
    numbers = np.concatenate([np.arange(-300, 300, 0.25), [largest, -largest]]).astype(np.float32)
    found = run_kernel(
        lambda data: halves_of(data, lambda value: conversion.to_output(value, out)), [2 * numbers]
    )
    np.testing.assert_array_equal(
        found, np.clip(np.rint(numbers) + zero_point, out.lower, out.upper).astype(np.int8)
    )
