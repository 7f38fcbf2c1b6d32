"""Each observer's range on values for which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.passes.calibrate.observers import OBSERVERS, WEIGHT_OBSERVERS, get_observer, get_weight_observer
from tvmq.passes.calibrate.observers.moving_average import MovingAverage

STEPS = 255


def _range(name, *arrays):
    observer = OBSERVERS[name](STEPS)
    for array in arrays:
        observer.update(np.asarray(array, "float32"))
    return observer.range()


@pytest.mark.parametrize("name", OBSERVERS)
def test_ranges_hold_zero(name):
    low, high = _range(name, np.linspace(2, 3, 50))
    assert low == 0.0 and 2.0 < high <= 3.0
    low, high = _range(name, np.linspace(-3, -2, 50))
    assert -3.0 <= low < -2.0 and high == 0.0


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("value", [0.0, 4.0, -0.25])
def test_constant_tensors(name, value):
    low, high = _range(name, np.full((3, 4), value), np.full((3, 4), value))
    assert low == pytest.approx(min(value, 0.0)) and high == pytest.approx(max(value, 0.0))


@pytest.mark.parametrize("name", OBSERVERS)
def test_without_any_sample(name):
    assert OBSERVERS[name](STEPS).range() == (0.0, 0.0)


def test_minmax():
    assert _range("minmax", [1.0, -2.0], [3.0, 0.5]) == (-2.0, 3.0)


def test_moving_average():
    share = 1.0 - MovingAverage.MOMENTUM
    low, high = _range("moving-average", [-1.0, 1.0], [0.5, 3.0])
    assert high == pytest.approx(1.0 + share * 2.0) and low == pytest.approx(-1.0 + share * 1.0)


def test_percentile_cuts_the_tails():
    values = np.linspace(-1.0, 1.0, 100_001)
    values[0], values[-1] = -50.0, 50.0
    low, high = _range("percentile", values)
    # Both outliers are 1e-5 of the values, less than the 5e-5 that are cut; a bin is 50 / 4096 wide.
    assert -1.0 - 2 * 50 / 4096 <= low <= -0.98 and 0.98 <= high <= 1.0 + 2 * 50 / 4096


def test_percentile_keeps_what_few_values_there_are():
    assert _range("percentile", np.linspace(-1.0, 2.0, 1000)) == (-1.0, 2.0)


def _quantization_error(values, low, high):
    step = (high - low) / STEPS
    zero = np.rint(-low / step)
    integers = np.clip(np.rint(values / step) + zero, 0, STEPS)
    return float(np.square((integers - zero) * step - values).sum())


@pytest.mark.parametrize("one_sided", [False, True])
def test_mean_squared_error_is_near_the_best_range(one_sided):
    values = np.random.default_rng(0).laplace(size=20_000)
    values = np.abs(values) if one_sided else values
    low, high = _range("mse", values)
    found = _quantization_error(values, low, high)
    shares = np.linspace(0.2, 1.0, 41)
    lows = [0.0] if one_sided else [values.min() * share for share in shares]
    best = min(_quantization_error(values, a, values.max() * share) for a in lows for share in shares)
    assert found <= 1.02 * best  # its grid, histogram and error model are approximate
    assert found < 0.99 * _quantization_error(values, min(values.min(), 0.0), values.max())


def test_mean_squared_error_ignores_where_the_zeros_are_many():
    values = np.abs(np.random.default_rng(0).laplace(size=5_000))
    with_zeros = np.concatenate([values, np.zeros(50_000)])
    assert _range("mse", with_zeros) == pytest.approx(_range("mse", values), rel=0.03)


def test_weights_minmax():
    weight = np.array([[1.0, -3.0], [0.0, 0.0]], "float32")
    assert WEIGHT_OBSERVERS["minmax"](weight, 127).tolist() == [3.0, 0.0]


def test_weights_mse_clips_only_where_it_pays():
    rng = np.random.default_rng(0)
    outlier = np.append(rng.uniform(-1, 1, 5000), 1.4)
    plain = np.append(rng.uniform(-1, 1, 5000), 1.0)
    largest = WEIGHT_OBSERVERS["mse"](np.stack([outlier, plain, np.zeros(5001)]).astype("float32"), 127)
    assert largest[0] < 1.4 and largest[1] == pytest.approx(1.0, abs=0.02) and largest[2] == 0.0


@pytest.mark.parametrize("get", [get_observer, get_weight_observer])
def test_unknown(get):
    with pytest.raises(TvmqError, match="did you mean 'minmax'"):
        get("min-max")
