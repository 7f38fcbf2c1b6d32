"""Compressed weights that learn: codes and tables as parameters, their gradients, and the way back into the module."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes import FineTuneOptions, QuantizeOptions
from tvmq.passes.hub.codes import step_and_low
from tvmq.passes.hub.compressed import compressed
from tvmq.passes.hub.graph import tupled
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.train.batch import batched
from tvmq.passes.train.binary import float_weights
from tvmq.passes.train.losses import linear
from tvmq.passes.train.objective import Term, images_last, objective
from tvmq.passes.train.parameter import BIASES, ENTRIES, PLACES, WEIGHT_SCALES
from tvmq.passes.train.put_back import put_into
from tvmq.passes.train.student import Student
from tvmq.passes.weight_only.compress import CompressWeights

from ..modules import const, module
from .networks import SHAPE, outputs_of, samples, unoptimized

BATCH = 3
WAYS = {
    "signs": {"weight_bits": 1},
    "integers": {"weight_bits": 3},
    "a scale a layer": {"weight_bits": 4, "per_channel": False},
    "groups": {"weight_bits": 4, "group_size": 3},
    "many bits": {"weight_bits": 11},
    "codebooks": {"codebook": True, "weight_bits": 2},
}


def _compressed(mod, **options):
    return CompressWeights(get_scheme("weight-only"), QuantizeOptions(**options))(mod)


def _small(b, x):
    """Convolution, clip, scores."""
    conv = b.add(relax.op.nn.conv2d(x, const(6, 3, 3, 3), strides=2, padding=1))
    pooled = relax.op.nn.adaptive_avg_pool2d(b.add(relax.op.nn.relu(conv)), (1, 1))
    return b.add(relax.op.matmul(b.add(relax.op.reshape(b.add(pooled), (1, 6))), const(6, 5, seed=9)))


def _student(mod, hub):
    return Student.of(batched(hub, BATCH), originals=float_weights(mod))


def _student_gives(student, images, values):
    given = [values[parameter.key] for parameter in student.parameters]
    return unoptimized(images_last(student.mod))([images, *given, np.array(1.0, np.float32)])[0]


@pytest.mark.parametrize("way", WAYS)
def test_it_begins_as_the_module_and_goes_back_into_it(way):
    mod = tupled(module({"x": SHAPE}, _small))
    hub = _compressed(mod, **WAYS[way])
    student = _student(mod, hub)
    images = np.concatenate([sample["x"] for sample in samples(BATCH, seed=5)])
    start = {parameter.key: parameter.values for parameter in student.parameters}
    np.testing.assert_allclose(
        _student_gives(student, images, start), outputs_of(hub, images), rtol=1e-4, atol=1e-4
    )
    assert {parameter.kind for parameter in student.parameters} == {
        *({ENTRIES} if way == "codebooks" else {PLACES}),
        *(WEIGHT_SCALES, BIASES),
    }
    rng = np.random.default_rng(2)
    new = {
        each.key: np.asarray(
            each.values + 0.3 * each.unit * rng.uniform(-1, 1, each.values.shape), np.float32
        )
        for each in student.parameters
    }
    learned = put_into(hub, new)
    found = outputs_of(learned, images)
    np.testing.assert_allclose(found, _student_gives(student, images, new), rtol=1e-3, atol=1e-3)
    assert not np.allclose(found, outputs_of(hub, images), rtol=1e-2, atol=1e-2)
    for codes in compressed(learned).values():
        assert codes.codes.max() < 2**codes.bits


ROWS, COLUMNS = 10, 4


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_a_product(way):
    """``sum(x w y)`` has the gradient ``x^T y`` by w, and what the weights are made of gets its sums."""
    mod = module({"x": (BATCH, ROWS)}, lambda b, x: b.add(relax.op.matmul(x, const(ROWS, COLUMNS))))
    hub = _compressed(tupled(mod), **WAYS[way])
    student = Student.of(hub)
    rng = np.random.default_rng(3)
    data, target = (rng.standard_normal((BATCH, extent)).astype(np.float32) for extent in (ROWS, COLUMNS))
    made = objective(student, [Term(0, linear, 1.0)], 0)
    assert made.missing == ()
    given = [parameter.values for parameter in student.parameters]
    gradients = unoptimized(made.mod)([data, target, *given, np.array(1.0, np.float32)])[1:]
    found = {each.kind: array for each, array in zip(student.parameters, gradients, strict=True)}
    (codes,) = compressed(hub).values()
    dense = data.T @ target
    if way == "codebooks":
        shares = dense * codes.scales
        wanted = np.bincount(codes.codes.ravel(), shares.ravel(), minlength=codes.table.size)
        np.testing.assert_allclose(found[ENTRIES], wanted, rtol=1e-4, atol=1e-5)
        relative = dense * codes.table[codes.codes]
        np.testing.assert_allclose(found[WEIGHT_SCALES], relative.sum(0, keepdims=True), rtol=1e-4, atol=1e-5)
        return
    step, _ = step_and_low(codes.bits)
    scales = codes.values() / codes.integers if codes.integers.all() else _spread(codes)
    np.testing.assert_allclose(found[PLACES], dense * step * scales, rtol=1e-4, atol=1e-5)
    by_weight = dense * codes.integers
    counts = codes.table.shape
    groups = np.arange(ROWS) // (codes.group if counts[0] > 1 else ROWS)
    sums = np.stack([by_weight[groups == group].sum(0) for group in range(counts[0])])
    sums = sums if counts[1] > 1 else sums.sum(1, keepdims=True)
    np.testing.assert_allclose(found[WEIGHT_SCALES], sums, rtol=1e-3, atol=1e-4)


def _spread(codes):
    table = codes.table
    table = np.repeat(table, codes.group, axis=0)[:ROWS] if 1 < table.shape[0] < ROWS else table
    return np.broadcast_to(table, codes.codes.shape)


def test_a_few_numbers_that_learn_and_codes_that_stay():
    mod = tupled(module({"x": SHAPE}, _small))
    given = samples(16, seed=3)
    plain, tuned = (
        tvmq.quantize(
            mod,
            "weight-only",
            calibration=given,
            options=QuantizeOptions(codebook=True, weight_bits=2, fine_tune=options),
        )
        for options in (None, FineTuneOptions(steps=30, batch=4, rate=0.01, augment=()))
    )
    exact = outputs_of(mod, [sample["x"][0] for sample in given])
    errors = [
        np.square(outputs_of(each.mod, [sample["x"][0] for sample in given]) - exact).sum()
        for each in (plain, tuned)
    ]
    assert errors[1] < 0.7 * errors[0]
    assert [layer.status for layer in tuned.layers] == [layer.status for layer in plain.layers]


def test_a_loop_of_ones_own():
    given = samples(8, seed=3)
    quantized = tvmq.quantize(
        module({"x": SHAPE}, _small),
        "weight-only",
        calibration=given,
        options=QuantizeOptions(codebook=True, weight_bits=2),
    )
    model = quantized.trainable(4)
    model.update({name: 1.1 * values for name, values in model.parameters.items() if "entries" in name})
    trained = quantized.trained(model)
    run = tvmq.compile(trained).run
    (found,) = run(given[0]).values()
    np.testing.assert_allclose(found, *model.outputs(given[0]).values(), rtol=1e-4, atol=1e-4)
    assert not np.allclose(found, *tvmq.compile(quantized).run(given[0]).values(), rtol=1e-2)


def test_samples_are_needed():
    options = QuantizeOptions(fine_tune=FineTuneOptions())
    with pytest.raises(TvmqError, match="fine_tune needs calibration samples"):
        tvmq.quantize(module({"x": SHAPE}, _small), "weight-only", options=options)
