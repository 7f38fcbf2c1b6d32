"""Norms with statistics that move: as the network was at first, then those of the batch, and folded in the end."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes import FineTune, FineTuneOptions, Teacher
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import tupled
from tvmq.passes.hub.pairs import float_form, weight_pairs
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.train.batch import batched
from tvmq.passes.train.losses import linear
from tvmq.passes.train.norms import norms_of
from tvmq.passes.train.objective import Term, images_last, objective
from tvmq.passes.train.parameter import CENTRES, DEVIATIONS, GAINS, MEANS
from tvmq.passes.train.put_back import put_into
from tvmq.passes.train.student import Student

from ..modules import const
from .networks import calibrated, outputs_of, samples, simulated, unoptimized

BATCH = 4
LOW = Scheme("w4a8", weight_bits=4, edge_bits=4)


def _body(b, x):
    conv = b.add(relax.op.nn.conv2d(x, const(6, 3, 3, 3, seed=7), padding=1))
    biased = b.add(relax.op.nn.relu(b.add(relax.op.add(conv, const(1, 6, 1, 1)))))
    conv = b.add(relax.op.nn.conv2d(biased, const(5, 6, 1, 1, seed=8)))
    return b.add(relax.op.nn.relu(conv))


@pytest.fixture(scope="module")
def hub():
    return tupled(calibrated(LOW, _body))


@pytest.fixture(scope="module")
def norms(hub):
    return norms_of(hub, hub, BATCH, samples(BATCH, seed=5), compile_for_host, None)


@pytest.fixture(scope="module")
def student(hub, norms):
    return Student.of(batched(hub, BATCH), norms=norms)


@pytest.fixture(scope="module")
def images():
    return np.concatenate([sample["x"] for sample in samples(BATCH, seed=5)])


@pytest.fixture(scope="module")
def function(student):
    return unoptimized(images_last(student.mod))


def _given(student, own, **new):
    values = {each.key: each.values for each in student.parameters} | new
    scalars = [np.array(1.0, np.float32), np.array(own, np.float32)]
    return [*(np.asarray(values[each.key], np.float32) for each in student.parameters), *scalars]


def _nchw(array):
    return array.transpose(0, 3, 1, 2)


def test_statistics_are_those_of_the_float_model(hub, norms, images):
    (first, *_) = (pair for pair in weight_pairs(hub) if pair.values.shape[1] == 3)
    run = compile_for_host(float_form(hub, relax.Tuple([first.readers[0]])))
    values = np.concatenate([run({"x": image[None]})[0] for image in images]).astype(np.float64)
    assert len(norms) == 2
    np.testing.assert_allclose(norms[first.name].mean, values.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(norms[first.name].deviation, values.std((0, 2, 3)), rtol=1e-5)


def test_with_averages_as_they_begin_nothing_changes(hub, student, function, images):
    found = _nchw(function([images, *_given(student, 0.0)])[0])
    np.testing.assert_allclose(found, simulated(hub, images), rtol=1e-4, atol=1e-4)


def test_the_statistics_of_a_batch_make_up_for_scales_and_shifts(student, function, images):
    """Weights twice as large, and other averages, change nothing where the batch's own statistics are taken."""
    larger = {
        each.key: 2.0 * each.values for each in student.parameters if each.kind in ("weight_scales", MEANS)
    }
    # Steps of the second layer's input stay as they are, and so must what they round: that is normed already.
    one, other = (function([images, *_given(student, 1.0, **new)])[0] for new in ({}, larger))
    # A variance has a thousandth of the float model's added, of which twice the values have a quarter; and what lies
    # between two steps of the second layer's input may fall to the other side.
    assert np.linalg.norm(other - one) < 0.01 * np.linalg.norm(one)
    far = function([images, *_given(student, 0.0, **larger)])[0]
    assert np.linalg.norm(far - one) > 0.5 * np.linalg.norm(one)


def test_averages_get_what_they_follow_and_all_else_gradients(hub, norms, student, images):
    made = objective(student, [Term(0, linear, 1.0)], 0)
    assert made.missing == ()
    target = np.ones((BATCH, 12, 12, 5), np.float32)
    _, *found = unoptimized(made.mod)([images, target, *_given(student, 1.0)])
    by_key = dict(zip([each.key for each in student.parameters], found, strict=True))
    for name, norm in norms.items():
        # The weights have 4 bits: their rounding moves the statistics by a fraction.
        np.testing.assert_allclose(by_key[f"{MEANS}:{name}"], norm.mean, atol=0.2 * norm.deviation.max())
        np.testing.assert_allclose(by_key[f"{DEVIATIONS}:{name}"], norm.deviation, rtol=0.2)
        assert np.abs(by_key[f"{GAINS}:{name}"]).max() > 0.0
        assert np.abs(by_key[f"{CENTRES}:{name}"]).max() > 0.0


def test_norms_fold_into_scales_and_biases(hub, student, function, images):
    rng = np.random.default_rng(2)
    new = {
        each.key: each.values + 0.2 * each.unit * rng.uniform(-1, 1, each.values.shape)
        for each in student.parameters
        if each.kind in (CENTRES, GAINS, MEANS, DEVIATIONS)
    }
    given = {each.key: each.values for each in student.parameters} | new
    learned = put_into(hub, given)
    np.testing.assert_allclose(
        simulated(learned, images),
        _nchw(function([images, *_given(student, 0.0, **new)])[0]),
        rtol=1e-3,
        atol=1e-3,
    )
    assert not np.allclose(simulated(learned, images), simulated(hub, images), rtol=0.02, atol=0.02)


def _fine_tune(hub, steps=12):
    options = FineTuneOptions(steps=steps, batch=BATCH, rate=0.01, batch_norm="moving", augment=())
    return FineTune(samples(16, seed=3), compile_function=unoptimized, options=options, teacher=Teacher(hub))(
        hub
    )


def test_a_pass(hub, images):
    exact = outputs_of(float_form(hub), images)
    before, after = (np.square(simulated(mod, images) - exact).sum() for mod in (hub, _fine_tune(hub)))
    assert after < before


def test_it_takes_scales_a_channel():
    one = Scheme("one", weight_bits=4, edge_bits=4, per_channel=False)
    with pytest.raises(TvmqError, match="scale of any size for each channel"):
        _fine_tune(calibrated(one, _body), 2)
