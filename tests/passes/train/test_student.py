"""The student begins as the hub's simulation, has the gradients of the engine in NumPy, and goes back into the hub."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, op_name, tupled
from tvmq.passes.hub.own_code import to_library
from tvmq.passes.hub.pairs import activation_pairs, float_form, weight_pairs
from tvmq.passes.hub.parameters import along
from tvmq.passes.improve.backward import channels_last
from tvmq.passes.improve.trainable import Trainable
from tvmq.passes.train.batch import batched
from tvmq.passes.train.losses import squares
from tvmq.passes.train.objective import Term, images_last, objective
from tvmq.passes.train.parameter import BIASES, CONSTANTS, OFFSETS, PLACES, STEPS, WEIGHT_SCALES
from tvmq.passes.train.put_back import put_into
from tvmq.passes.train.student import Student
from tvmq.passes.train.weight_forms import DoReFa, LowRank
from tvmq.schedules.pipeline import build
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from ..modules import const, module
from .networks import CLASSES, FINE, calibrated, outputs_of, samples, simulated, unoptimized

BATCH = 3


@pytest.fixture(scope="module")
def hub():
    return tupled(calibrated())


@pytest.fixture(scope="module")
def student(hub):
    return Student.of(batched(hub, BATCH))


@pytest.fixture(scope="module")
def function(student):
    return unoptimized(images_last(student.mod))


@pytest.fixture(scope="module")
def images():
    return np.concatenate([sample["x"] for sample in samples(BATCH, seed=5)])


def _given(student, **new):
    values = {parameter.key: parameter.values for parameter in student.parameters} | new
    return [values[parameter.key] for parameter in student.parameters]


def _run(function, student, images, finer=1.0, **new):
    return function([images, *_given(student, **new), np.array(finer, np.float32)])[0]


def test_it_begins_as_the_simulation(hub, student, function, images):
    np.testing.assert_allclose(_run(function, student, images), simulated(hub, images), rtol=1e-4, atol=1e-4)


def test_finer_steps_come_to_the_float_model(hub, student, function, images):
    # The places of weights begin a quarter of a step from their integers at most: those are the float weights here.
    own = {
        f"{PLACES}:{pair.name}": pair.values / along(pair.scales, pair.axis, pair.values.ndim)
        for pair in weight_pairs(hub)
    }
    exact = outputs_of(float_form(hub), images)
    far, near = (
        np.abs(_run(function, student, images, finer, **own) - exact).max() for finer in (1.0, 2.0**12)
    )
    assert near < 0.1 * far


def test_gradients_are_those_of_the_engine_in_numpy(images):
    # Of 8 bits in activations: where a value on the edge of two steps falls to the other side, little follows.
    hub = tupled(calibrated(FINE))
    student = Student.of(batched(hub, BATCH))
    target = np.random.default_rng(1).standard_normal((BATCH, CLASSES)).astype(np.float32)
    made = objective(student, [Term(0, squares, 1.0)], 1)
    assert made.missing == ()
    loss, result, *gradients = unoptimized(made.mod)(
        [images, target, *_given(student), np.array(1.0, np.float32)]
    )
    found = dict(zip([parameter.key for parameter in student.parameters], gradients, strict=True))
    learns = {pair.dequantize for pair in [*weight_pairs(hub), *activation_pairs(hub)]}
    other = Trainable(hub, learns)
    (own,) = other.forward([channels_last(images)])
    np.testing.assert_allclose(result, own, rtol=1e-2, atol=1e-2 * np.abs(own).max())
    energy = np.square(target).mean(-1, keepdims=True)
    shares = 1.0 / (energy + 0.1 * energy.mean())
    shares /= (shares * energy).sum() * CLASSES
    np.testing.assert_allclose(loss, (shares * np.square(result - target)).sum(), rtol=1e-4)
    for parameter in other.parameters:
        parameter.restart()
    other.backward([2.0 * shares * (own - target)])

    def same(given, wanted):
        assert np.linalg.norm(given - wanted) < 0.02 * np.linalg.norm(wanted)

    for name, learned in other.weights.items():
        same(found[f"{PLACES}:{name}"], learned.places.gradient)
        same(found[f"{WEIGHT_SCALES}:{name}"] * learned.scales, learned.growth.gradient)
        shift = other.shifts[name][0]
        same(found[f"{BIASES}:{name}:0"] * shift._unit, shift.share.gradient)
    for name, step in other.steps.items():
        same(found[f"{STEPS}:{name}"] * step.scale, step.growth.gradient)


def test_what_is_learned_goes_back_into_the_hub(hub, student, function, images):
    rng = np.random.default_rng(2)
    new = {
        parameter.key: np.asarray(
            parameter.values + parameter.unit * rng.uniform(-0.2, 0.2, parameter.values.shape), np.float32
        )
        for parameter in student.parameters
    }
    assert {parameter.kind for parameter in student.parameters} == {PLACES, WEIGHT_SCALES, BIASES, STEPS}
    learned = put_into(hub, new)
    np.testing.assert_allclose(
        simulated(learned, images), _run(function, student, images, **new), rtol=1e-3, atol=1e-3
    )
    assert not np.allclose(simulated(learned, images), simulated(hub, images), rtol=1e-2, atol=1e-2)
    for old, found in zip(weight_pairs(hub), weight_pairs(learned), strict=True):
        assert found.integers.min() >= old.limits[0]
        assert found.integers.max() <= old.limits[1]


def test_constants_of_float_operators_learn_too(images):
    def body(b, x):
        scaled = b.add(relax.op.multiply(x, const(1, 3, 1, 1)))
        moved = b.add(relax.op.add(scaled, const(1, 3, 1, 1, seed=2)))
        return b.add(relax.op.multiply(moved, relax.const(2.0, "float32")))

    mod = module({"x": images.shape}, body)
    student = Student.of(mod)
    assert [parameter.kind for parameter in student.parameters] == [CONSTANTS, CONSTANTS]
    new = {parameter.key: parameter.values + 1 for parameter in student.parameters}
    changed = put_into(mod, new)
    constants = [
        binding.value.args[1].value.numpy()
        for binding in bindings_of(changed)
        if op_name(binding.value) in ("relax.multiply", "relax.add")
    ]
    assert np.array_equal(constants[0], const(1, 3, 1, 1).value.numpy() + 1)
    assert np.array_equal(constants[1], const(1, 3, 1, 1, seed=2).value.numpy() + 1)
    assert constants[2] == 2.0


def test_what_does_not_learn_is_a_constant(hub, images):
    student = Student.of(batched(hub, BATCH), learns=lambda parameter: parameter.kind == STEPS)
    assert {parameter.kind for parameter in student.parameters} == {STEPS}
    function = unoptimized(images_last(student.mod))
    np.testing.assert_allclose(_run(function, student, images), simulated(hub, images), rtol=1e-4, atol=1e-4)


def test_what_is_computed_again_gives_the_same_gradients_in_less_memory(student, images):
    target = np.random.default_rng(1).standard_normal((BATCH, CLASSES)).astype(np.float32)
    arguments = [images, target, *_given(student), np.array(1.0, np.float32)]
    host = parse_target("llvm -mcpu=native", **{"opt-level": "0"})
    found, memory = [], []
    for parts in (1, 3):
        mod = objective(student, [Term(0, squares, 1.0)], 1, parts=parts).mod
        built = build(mod, host, row_of(host))
        to_library(built.executable)
        main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]
        found.append([value.numpy() for value in main(*map(tvm.runtime.tensor, arguments))])
        memory.append(built.activation_bytes)
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    assert memory[1] < 0.9 * memory[0]


@pytest.mark.parametrize("form", [DoReFa(), LowRank(2)], ids=["dorefa", "low rank"])
def test_other_forms_of_weights_begin_where_these_are_and_go_back(hub, images, form):
    own = Student.of(batched(hub, BATCH), form=form)
    function = unoptimized(images_last(own.mod))
    # The first layers' integers are the same; what comes of a place on the edge of two steps may be either.
    begun = put_into(hub, {parameter.key: parameter.values for parameter in own.parameters}, form)
    for old, new in zip(weight_pairs(hub), weight_pairs(begun), strict=True):
        assert (old.integers == new.integers).mean() > 0.99
    rng = np.random.default_rng(4)
    new = {
        parameter.key: np.asarray(
            parameter.values + parameter.unit * rng.uniform(-0.2, 0.2, parameter.values.shape), np.float32
        )
        for parameter in own.parameters
    }
    np.testing.assert_allclose(
        simulated(put_into(hub, new, form), images), _run(function, own, images, **new), rtol=1e-3, atol=1e-3
    )


def test_zero_points_learn_where_they_are_asked_to(hub, images):
    own = Student.of(batched(hub, BATCH), learns=lambda parameter: parameter.kind == OFFSETS)
    assert {parameter.kind for parameter in own.parameters} == {OFFSETS}
    function = unoptimized(images_last(own.mod))
    np.testing.assert_allclose(_run(function, own, images), simulated(hub, images), rtol=1e-4, atol=1e-4)
    moved = {parameter.key: parameter.values + np.float32(1.3) for parameter in own.parameters}
    learned = put_into(hub, moved)
    for old, new in zip(activation_pairs(hub), activation_pairs(learned), strict=True):
        assert new.zero_point == old.zero_point + 1
    np.testing.assert_allclose(
        simulated(learned, images), _run(function, own, images, **moved), rtol=1e-4, atol=1e-4
    )
    target = np.zeros((BATCH, CLASSES), np.float32)
    gradients = unoptimized(objective(own, [Term(0, squares, 1.0)], 0).mod)(
        [3 * images, target + 1, *_given(own), np.array(1.0, np.float32)]
    )[1:]
    assert any(float(gradient) for gradient in gradients)
