"""Steps of optimizers are their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.passes.train.optimizers import BETA1, BETA2, MOMENTUM, WARM_UP, Optimizer, schedule

SIZE = 37


def _vectors():
    rng = np.random.default_rng(0)
    units = rng.uniform(0.5, 2.0, SIZE).astype(np.float32)
    decays = np.where(np.arange(SIZE) % 2, 0.1, 0.0).astype(np.float32)
    values = rng.standard_normal(SIZE).astype(np.float32)
    gradients = rng.standard_normal((4, SIZE)).astype(np.float32)
    return units, decays, values, gradients


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam(name):
    units, decays, values, gradients = _vectors()
    optimizer, expected = Optimizer.of(name, units, decays), values.astype(np.float64)
    mean = square = np.zeros(SIZE)
    for count, gradient in enumerate(gradients, start=1):
        optimizer.step(values, gradient, 0.01)
        mean = BETA1 * mean + (1 - BETA1) * gradient
        square = BETA2 * square + (1 - BETA2) * gradient.astype(np.float64) ** 2
        change = units * (mean / (1 - BETA1**count)) / np.sqrt(square / (1 - BETA2**count))
        expected -= 0.01 * (change + decays * expected)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    assert optimizer.count == len(gradients)


def test_sgd():
    units, decays, values, gradients = _vectors()
    optimizer, expected, momentum = Optimizer.of("sgd", units, decays), values.astype(np.float64), 0.0
    for gradient in gradients:
        optimizer.step(values, gradient, 0.01)
        momentum = MOMENTUM * momentum + gradient
        expected -= 0.01 * (units * momentum + decays * expected)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


def test_rates_rise_and_fall():
    shares = [schedule(step, 200) for step in range(200)]
    assert shares[0] == pytest.approx(1 / WARM_UP)
    assert max(shares) > 0.94
    assert shares[100] == pytest.approx(0.5)
    assert shares[-1] < 1e-3


def test_an_unknown_optimizer():
    with pytest.raises(TvmqError, match="adamw"):
        Optimizer.of("adamww", *_vectors()[:2])
