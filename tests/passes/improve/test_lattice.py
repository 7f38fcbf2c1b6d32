"""Integers near weights in the metric of a Hessian: never worse than to nearest, and no single step betters them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tvmq.passes.improve import lattice

LIMITS = (-8, 7)


def _problem(groups: int = 1, rows: int = 8, size: int = 12, seed: int = 0):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((groups, rows, size))
    # Columns that go together: where rounding one can be made up for by others.
    factors = rng.standard_normal((groups, size, 2 * size)) + 2.0 * rng.standard_normal((groups, 1, 2 * size))
    hessian = factors @ factors.transpose(0, 2, 1) / (2 * size)
    scales = np.abs(weight).max(-1) / LIMITS[1]
    return weight, scales, hessian


def _plain(weight, scales):
    return np.clip(np.rint(weight / scales[..., None]), *LIMITS)


@pytest.mark.parametrize("groups", [1, 3])
def test_each_step_lowers_the_error(groups):
    weight, scales, hessian = _problem(groups)
    steps = [_plain(weight, scales), lattice.gptq(weight, scales, lattice.Factor.of(hessian), LIMITS)]
    steps.append(lattice.descend(weight, scales, hessian, LIMITS, steps[-1]))
    errors = [lattice.error(weight, scales, hessian, integers).sum() for integers in steps]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] <= errors[1]
    fitted, new = lattice.nearest(weight, scales, hessian, LIMITS, fit_scales=True)
    assert lattice.error(weight, new, hessian, fitted).sum() < errors[2]
    for integers in (*steps, fitted):
        assert integers.min() >= LIMITS[0] and integers.max() <= LIMITS[1]
        np.testing.assert_array_equal(integers, np.rint(integers))


def test_groups_are_apart():
    weight, scales, hessian = _problem(3)
    together = lattice.nearest(weight, scales, hessian, LIMITS)[0]
    for group in range(3):
        one = slice(group, group + 1)
        alone = lattice.nearest(weight[one], scales[one], hessian[one], LIMITS)[0]
        np.testing.assert_array_equal(together[one], alone)


def test_descent_ends_where_no_single_weight_can_move():
    weight, scales, hessian = _problem()
    integers = lattice.descend(weight, scales, hessian, LIMITS, _plain(weight, scales))
    least = lattice.error(weight, scales, hessian, integers)
    for column, step in itertools.product(range(weight.shape[2]), (-1, 1)):
        other = integers.copy()
        other[..., column] = np.clip(other[..., column] + step, *LIMITS)
        assert (lattice.error(weight, scales, hessian, other) >= least - 1e-12).all()


def test_a_diagonal_hessian_rounds_to_nearest():
    weight, scales, _ = _problem()
    hessian = np.diag(np.arange(1.0, 13.0))[None]
    np.testing.assert_array_equal(
        lattice.gptq(weight, scales, lattice.Factor.of(hessian), LIMITS), _plain(weight, scales)
    )


def test_fitted_scale_is_the_best_one():
    weight, scales, hessian = _problem()
    integers = _plain(weight, scales)
    best = lattice.fitted_scales(weight, scales, hessian, integers, per_channel=True)
    least = lattice.error(weight, best, hessian, integers)
    for factor in (0.99, 1.01):
        assert (lattice.error(weight, best * factor, hessian, integers) > least).all()
    one = lattice.fitted_scales(
        weight, np.full_like(scales, scales.max()), hessian, integers, per_channel=False
    )
    assert np.unique(one).size == 1


def test_a_row_of_zeros_keeps_its_scale():
    weight, scales, hessian = _problem()
    weight[:, 0], scales[:, 0] = 0.0, 1.0
    integers, new = lattice.nearest(weight, scales, hessian, LIMITS, fit_scales=True)
    assert not integers[:, 0].any()
    assert new[0, 0] == 1.0


def test_a_ridge_makes_any_covariance_invertible():
    dead = np.zeros((2, 3, 3))
    dead[1] = 1.0
    means = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    ridge = lattice.ridge(dead, means, 0.01)
    assert (np.linalg.eigvalsh(dead + ridge) > 0.0).all()
    np.testing.assert_allclose(ridge[1], 0.01 * np.eye(3))


def test_a_ridge_weakens_correlations_whatever_the_variances():
    scales = np.array([1.0, 20.0, 0.1])
    covariance = (np.full((3, 3), 0.8) + 0.2 * np.eye(3)) * np.outer(scales, scales)
    damped = covariance + lattice.ridge(covariance[None], np.zeros((1, 3)), 1.0)[0]
    deviations = np.sqrt(np.diagonal(damped))
    wanted = np.full((3, 3), 0.4) + 0.6 * np.eye(3)
    np.testing.assert_allclose((damped / np.outer(deviations, deviations))[:2, :2], wanted[:2, :2])
    # The third varies so little that float32 sums would hide it.
    assert abs(damped[0, 2]) < 0.4 * deviations[0] * deviations[2]
