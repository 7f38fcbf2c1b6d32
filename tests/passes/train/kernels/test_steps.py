"""Fake quantization each way is the formula in NumPy, around vectors, runs and threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import main_function
from tvmq.passes.train.gradient import Tape
from tvmq.passes.train.kernels import steps
from tvmq.passes.train.network import compile_in_place
from tvmq.search.host import function_on_host

PLAIN = steps.Slopes(sign=None)
SCALE, LOW, HIGH = np.float32(0.3), np.float32(-2.0), np.float32(5.0)


def _function(
    size: int,
    bounds=(-math.inf, math.inf),
    drops: bool = False,
    compile_function=compile_in_place,
    slopes=PLAIN,
):
    """Compile ``(x, dy, s, 1 / s, l, h, ...) -> (y, dx, ds, dl, dh)``."""
    vector, scalar = relax.TensorType((size,), "float32"), relax.TensorType((), "float32")
    x, dy = (relax.Var(name, vector) for name in ("x", "dy"))
    scalars = [relax.Var(name, scalar) for name in steps.SCALARS]
    scalars += [relax.Var(name, relax.TensorType((), "int32")) for name in steps.DROPS if drops]
    builder = relax.BlockBuilder()
    with main_function(builder, [x, dy, *scalars]):
        with builder.dataflow():
            result = builder.emit(steps.step(builder, x, scalars, bounds, slopes))
            tape = Tape(builder, _bindings(builder, result), {})
            wanted = [x, scalars[0], scalars[2], scalars[3]]
            found = tape.gradients({result: dy}, wanted)
            output = builder.emit_output(relax.Tuple([result, *(found[var] for var in wanted)]))
        builder.emit_func_output(output)
    return compile_function(builder.get())


def _bindings(builder, var):
    """Return what leads to a variable from a function's parameters, in order."""
    value = builder.lookup_binding(var)
    if value is None:
        return []
    reads = value.args[1].fields if isinstance(value.args[0], relax.GlobalVar) else value.args[:1]
    return [*(item for read in reads for item in _bindings(builder, read)), (var, value)]


def _values(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    return (rng.standard_normal(size) * 1.2).astype(np.float32), rng.standard_normal(size).astype(np.float32)


def _expected(x, dy, bounds=(-math.inf, math.inf)):
    clipped = np.clip(x, *np.float32(bounds))
    count = clipped * (np.float32(1.0) / SCALE)
    rounded = np.clip(np.rint(count), LOW, HIGH)
    below, above = rounded - count > 0.5, rounded - count < -0.5
    inside = ~(below | above)
    dx = np.where(inside & (x > bounds[0]) & (x < bounds[1]), dy, 0)
    wide = dy.astype(np.float64)
    low, high = float((wide * below).sum()), float((wide * above).sum())
    ds = float((wide * inside * (rounded - count)).sum()) + LOW * low + HIGH * high
    return rounded * SCALE, dx, ds, SCALE * low, SCALE * high


@pytest.mark.parametrize("size", [1, 15, 16, 33, steps.RUN, steps.RUN + 17])
@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, math.inf), (-0.5, 1.0)])
def test_both_ways(size, bounds):
    x, dy = _values(size)
    found = _function(size, bounds)([x, dy, SCALE, np.float32(1.0) / SCALE, LOW, HIGH])
    y, dx, *sums = _expected(x, dy, bounds)
    assert np.array_equal(found[0], y)
    assert np.array_equal(found[1], dx)
    # A sum of n float32 in 16 lanes loses at most n / 16 times half a last digit of the terms' magnitudes.
    bound = 6.0 * np.abs(dy).sum() * (size / 16 + 4) * 2.0**-24
    for given, wanted in zip(found[2:], sums, strict=True):
        assert abs(float(given) - wanted) <= bound


def test_on_all_cores_with_our_own_pipeline():
    size = steps.LARGE + 5
    x, dy = _values(size)
    arguments = [x, dy, *(np.array(number) for number in (SCALE, np.float32(1.0) / SCALE, LOW, HIGH))]
    function = _function(size, compile_function=function_on_host)
    first, second = function(arguments), function(arguments)
    y, dx, *_ = _expected(x, dy)
    assert np.array_equal(first[0], y)
    assert np.array_equal(first[1], dx)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_share_of_the_values_stays_float():
    size = 1 << 14
    x, dy = _values(size)
    function = _function(size, drops=True)

    def run(seed: int, share: float):
        numbers = np.int32(seed), np.int32(share * 2**24)
        return function([x, dy, SCALE, np.float32(1.0) / SCALE, LOW, HIGH, *numbers])

    y, dx, *_ = _expected(x, dy)
    none, some, again, other, every = run(1, 0.0), run(1, 0.3), run(1, 0.3), run(2, 0.3), run(1, 1.0)
    assert np.array_equal(none[0], y)
    assert np.array_equal(every[0], x)
    assert np.array_equal(every[1], dy)
    assert not any(float(total) for total in every[2:])
    kept = some[0] != y
    # The standard deviation of a share of 0.3 among 2^14 is 0.0036; few of the values are their own rounding.
    assert abs(kept.mean() - 0.3) < 5 * 0.0036
    assert np.array_equal(some[0][kept], x[kept])
    assert np.array_equal(some[1], np.where(kept, dy, dx))
    assert np.array_equal(some[0], again[0])
    assert not np.array_equal(some[0], other[0])


def test_a_scale_that_learns_from_what_is_clipped_alone():
    x, dy = _values(100)
    arguments = [x, dy, SCALE, np.float32(1.0) / SCALE, LOW, HIGH]
    of_all, of_clipped = (
        _function(100)(arguments),
        _function(100, slopes=steps.Slopes(clips_only=True, sign=None))(arguments),
    )
    *same, low, high = of_all
    assert all(np.array_equal(same[place], of_clipped[place]) for place in range(2))
    assert float(of_clipped[2]) == pytest.approx(float((LOW * low + HIGH * high) / SCALE), rel=1e-5)
    assert float(of_clipped[2]) != float(of_all[2])


_SLOPES = {
    "straight": lambda u: np.where(abs(u) <= 1, 1.0, 0.0),
    "bi-real": lambda u: np.select([(u >= -1) & (u < 0), (u >= 0) & (u < 1)], [2 + 2 * u, 2 - 2 * u], 0.0),
}
"""Of signs, in units of half a step around the threshold."""


@pytest.mark.parametrize("sign", _SLOPES)
def test_what_a_sign_passes(sign):
    size = steps.RUN + 17
    x, dy = _values(size)
    x, zero, one = x * SCALE, np.float32(0.0), np.float32(1.0)
    function = _function(size, slopes=steps.Slopes(sign=sign))
    y, dx, ds, *ends = function([x, dy, SCALE, one / SCALE, zero, one])
    count = x * (one / SCALE)
    u = 2 * (count.astype(np.float64) - 0.5)
    slope = _SLOPES[sign](u)
    rounded = np.clip(np.rint(count), 0, 1)
    assert np.array_equal(y, rounded * SCALE)
    # Three roundings of numbers up to 2.
    np.testing.assert_allclose(dx, slope * dy, atol=3 * 2.0**-23 * np.abs(dy).max(), rtol=2.0**-23)
    bound = 6.0 * np.abs(dy).sum() * (size / 16 + 4) * 2.0**-24
    assert abs(float(ds) - float((dy * (rounded - slope * count)).sum())) <= bound
    others = _function(size)([x, dy, SCALE, one / SCALE, zero, one])
    assert [*map(float, ends)] == [*map(float, others[3:])]
