"""The numbers of quantizers that learn, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.hub.pairs import ActivationPair, WeightPair
from tvmq.passes.hub.parameters import weight_limits
from tvmq.passes.improve.backward import Product
from tvmq.passes.improve.learned import LearnedShift, LearnedStep, LearnedWeights, Parameter, Rates, kept


def _step(scale=0.5, zero_point=1, bits=2) -> LearnedStep:
    var = relax.Var("x")
    pair = ActivationPair("x", var, var, var, "uint8", bits, scale, zero_point)
    return LearnedStep(pair, 0.01, np.random.default_rng(0))


def _weights(values, integers, scales, axis=1, bits=3) -> LearnedWeights:
    var = relax.Var("w")
    values, integers = np.float32(values), np.int8(integers)
    pair = WeightPair(
        *("w", values, var, var, (), axis, bits, weight_limits(bits), np.float32(scales), integers)
    )
    return LearnedWeights(pair, 0.01, 0.001)


def test_a_parameter_that_starts_again_knows_no_earlier_gradient():
    parameter, other = Parameter(np.zeros(2), 0.1), Parameter(np.zeros(2), 0.1)
    parameter.gradient[:] = 5, -3
    parameter.step(1.0)
    np.testing.assert_allclose(parameter.values, [-0.1, 0.1], rtol=1e-5)
    parameter.gradient[:] = 7  # of a step that is never taken
    parameter.restart()
    parameter.values[:] = 0
    for gradient in ([1, 1], [-2, 4]):
        for each in (parameter, other):
            each.gradient[:] += gradient
            each.step(1.0)
    np.testing.assert_array_equal(parameter.values, other.values)


def test_a_step_quantizes_as_its_pair_does():
    # Integers 0 to 3 around a zero point of 1: -1 to 2, that is -0.5 to 1.
    data = np.float32([-2.0, -0.6, -0.2, 0.2, 0.3, 0.8, 1.1, 7.0])
    np.testing.assert_array_equal(_step().forward(data), np.float32([-0.5, -0.5, 0, 0, 0.5, 1, 1, 1]))


def test_the_gradient_of_a_step():
    step = _step()
    step.forward(np.float32([0.15, 0.9, -0.2, 3.0, -9.0]))
    gradient = np.float32([1.0, 2.0, 3.0, 4.0, 5.0])
    (passed,) = step.backward(gradient)
    np.testing.assert_array_equal(passed, np.float32([1, 2, 3, 0, 0]))
    # In steps the values are 0.3, 1.8, -0.4, 6 and -18, and become 0, 2, 0, 2 and -1; times 0.5 for the logarithm.
    expected = 0.5 * (1 * -0.3 + 2 * 0.2 + 3 * 0.4 + 4 * 2 + 5 * -1)
    np.testing.assert_allclose(step.growth.gradient, expected, rtol=1e-5)


def test_what_is_dropped_stays_float_and_passes_its_gradient():
    step = _step()
    step.drop = 0.5
    data = np.full(4000, 9.3, np.float32)
    result = step.forward(data)
    same = np.isclose(result, data)
    assert 0.45 < same.mean() < 0.55
    np.testing.assert_array_equal(result[~same], np.float32(1.0))
    (passed,) = step.backward(np.ones(4000, np.float32))
    np.testing.assert_array_equal(passed, same)
    np.testing.assert_allclose(step.growth.gradient, 0.5 * 2 * (~same).sum())


def test_weights_begin_at_their_integers_and_near_their_values():
    weights = _weights([[0.2, 0.9], [-0.3, -9.0]], [[0, 1], [-1, -3]], [0.5, 1.0])
    np.testing.assert_array_equal(weights.forward(), np.float32([[0, 1], [-0.5, -3]]))
    np.testing.assert_allclose(weights.places.values, np.float32([[0.25, 0.9], [-0.75, -3.25]]))


def test_the_gradient_of_weights():
    weights = _weights([[0.2, 0.9], [-0.3, 2.9]], [[0, 1], [-1, 3]], [0.5, 1.0])
    weights.places.values[1, 1] = 3.6  # beyond the limit, where nothing changes
    weights.forward()
    assert weights.backward(np.float32([[1, 2], [3, 4]])) == ()
    np.testing.assert_array_equal(weights.places.gradient, np.float32([[0.5, 2], [1.5, 0]]))
    np.testing.assert_array_equal(weights.growth.gradient, np.float32([3 * -0.5, 2 * 1 + 4 * 3]))


def test_one_scale_of_all_weights_has_one_gradient():
    weights = _weights([[0.5, 1.0]], [[1, 2]], [0.5])
    weights.forward()
    weights.backward(np.float32([[1, 1]]))
    np.testing.assert_array_equal(weights.growth.gradient, np.float32([0.5 + 1.0]))


def test_a_shift_in_units_of_the_result():
    shift = LearnedShift(Product(), 2, 0.1)
    data, weight = np.float32([[1.0], [3.0]]), np.float32([[1.0, 10.0]])
    np.testing.assert_array_equal(shift.forward(data, weight), data @ weight)
    shift.backward(np.float32([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(
        shift.share.gradient, np.float32([4, 60])
    )  # the results deviate by 1 and 10
    shift.share.values[:] = 0.5
    np.testing.assert_array_equal(shift.forward(data, weight), data @ weight + np.float32([0.5, 5]))
    np.testing.assert_array_equal(shift.shift, np.float32([0.5, 5]))


def test_adam_moves_by_the_rate_at_first_and_finds_a_minimum():
    parameter = Parameter(np.float32([3.0, -2.0, 1.0]), 0.1)
    parameter.gradient[:] = [5.0, -0.01, 0.0]
    parameter.step(0.5)
    np.testing.assert_allclose(parameter.values, [2.95, -1.95, 1.0], rtol=1e-5)
    assert not parameter.gradient.any()
    for count in range(300):
        parameter.gradient[:] = parameter.values - 1.0
        parameter.step(1.0 - count / 300)
    np.testing.assert_allclose(parameter.values, 1.0, atol=0.01)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_kept(share):
    mask = kept((100, 200), share, np.random.default_rng(0))
    assert mask.shape == (100, 200) and mask.dtype == bool
    assert abs(mask.mean() - share) < 0.02


def test_bad_rates():
    with pytest.raises(TvmqError, match="rate of learning of shifts must be at least 0, got -1"):
        Rates(shifts=-1.0)
