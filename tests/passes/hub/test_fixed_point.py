"""Requantization by multipliers and shifts: NumPy against exact fractions, and the kernels' form against NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import tvm
from tvm import te

from tvmq.passes.hub.arithmetic import Output
from tvmq.passes.hub.fixed_point import (
    FixedPoint,
    fixed_points_of,
    multiplied,
    multiplied_once,
    quantized_multiplier,
    with_fixed_points,
)
from tvmq.passes.realize.compute.fixed_point import RequantizeFixed, rescaled

VALUES = np.unique(
    np.concatenate([np.arange(-40, 41), np.random.default_rng(0).integers(-(2**26), 2**26, 400)])
).astype(np.int32)
RATIOS = [0.5, 0.25, 2**-9, 0.7071, 1e-3, 3.3e-5, 0.99999999, 1.0, 1.5, 7.3]


@pytest.mark.parametrize("ratio", [*RATIOS, 1e-7, 0.0])
def test_a_ratio_is_its_multiplier_and_shift(ratio: float):
    multiplier, shift = quantized_multiplier(ratio)
    assert multiplier == 0 == ratio or 2**30 <= multiplier < 2**31
    assert math.isclose(multiplier * 2.0 ** (shift - 31), ratio, rel_tol=2**-31)


def test_ratios_too_small_to_matter():
    assert quantized_multiplier(2.0**-40) == (0, 0)


def rounded(value: Fraction, halves_up: bool) -> int:
    if halves_up or value >= 0:
        return math.floor(value + Fraction(1, 2))
    return -math.floor(-value + Fraction(1, 2))


@pytest.mark.parametrize("ratio", RATIOS)
def test_products_are_rounded_twice_or_once(ratio: float):
    multiplier, shift = quantized_multiplier(ratio)
    twice, once = multiplied(VALUES, multiplier, shift), multiplied_once(VALUES, multiplier, shift)
    for value, first, second in zip(VALUES.tolist(), twice.tolist(), once.tolist(), strict=True):
        exact = Fraction(value) * 2 ** max(shift, 0) * multiplier / 2**31
        high = rounded(exact, halves_up=True)
        assert first == rounded(Fraction(high, 2 ** max(-shift, 0)), halves_up=False)
        assert second == rounded(exact / 2 ** max(-shift, 0), halves_up=True)


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("ratios", [RATIOS[:6], RATIOS[3:], RATIOS[-3:]])
def test_kernels_compute_the_same(ratios: list[float], once: bool):
    multipliers, shifts = (np.int32(each) for each in zip(*map(quantized_multiplier, ratios), strict=True))
    out = Output("int8", -3, -100, 120)
    epilogue = RequantizeFixed(out, (int(shifts.min()), int(shifts.max())), once)
    value, factor, shift = (
        te.placeholder(shape, "int32")
        for shape in ((len(VALUES), len(ratios)), (len(ratios),), (len(ratios),))
    )
    result = te.compute(value.shape, lambda i, j: epilogue(value(i, j), factor(j), (i, j), [shift]))
    given = np.repeat(VALUES[:, None], len(ratios), axis=1)
    found = _run([value, factor, shift, result], [given, multipliers, shifts], np.zeros(given.shape, np.int8))
    exact = (multiplied_once if once else multiplied)(given, multipliers, shifts)
    np.testing.assert_array_equal(found, np.clip(exact - 3, -100, 120))


@pytest.mark.parametrize("ratio", RATIOS)
def test_rescaled_tensors(ratio: float):
    multiplier, shift = quantized_multiplier(ratio)
    value = te.placeholder(VALUES.shape, "int32")
    result = rescaled(value, multiplier=multiplier, shift=shift)
    found = _run([value, result], [VALUES], np.zeros(VALUES.shape, np.int32))
    np.testing.assert_array_equal(found, multiplied(VALUES, multiplier, shift))


def _run(tensors: list[te.Tensor], given: list[np.ndarray], result: np.ndarray) -> np.ndarray:
    function = te.create_prim_func(tensors).with_attr("global_symbol", "main")
    arrays = [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in (*given, result)]
    tvm.compile(tvm.IRModule({"main": function}), "llvm")["main"](*arrays)
    return arrays[-1].numpy()


def test_a_module_keeps_them():
    layers = {"a": FixedPoint((1, -2), (2**30, 2**31 - 1), (0, -3), True), "b": FixedPoint((0,), (5,), (1,))}
    assert fixed_points_of(with_fixed_points(tvm.IRModule(), layers)) == layers
    assert fixed_points_of(tvm.IRModule()) == {}
