"""Fine-tuning as a pass, in pipelines and by tvmc: better or as it was, whatever the user gives."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes import FineTune, FineTuneOptions, QuantizeOptions, Teacher
from tvmq.passes.hub.pairs import activation_pairs, weight_pairs
from tvmq.passes.train.network import network

from ..modules import const, module, random
from .networks import CLASSES, SHAPE, calibrated, classifier, samples, unoptimized

OPTIONS = FineTuneOptions(steps=16, batch=4, rate=0.01, augment=("mirror",))


def _fine_tune(mod, given, options=OPTIONS, **more):
    return FineTune(given, compile_function=unoptimized, options=options, teacher=Teacher(mod), **more)(mod)


@pytest.fixture(scope="module")
def hub():
    return calibrated()


def _parameters(mod):
    weights = [array for pair in weight_pairs(mod) for array in (pair.integers, pair.scales)]
    return [*weights, *(np.array([pair.scale, pair.zero_point]) for pair in activation_pairs(mod))]


def _same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(_parameters(one), _parameters(other), strict=True))


def test_a_pass(hub, caplog):
    learned = _fine_tune(hub, samples(16, seed=3))
    assert not _same(hub, learned)
    assert "fine-tuned in 16 steps: error on the samples held out" in caplog.text


def test_what_is_worse_is_not_taken(hub, caplog):
    spoiled = FineTuneOptions(steps=2, batch=4, rate=50.0, augment=())
    assert _same(hub, _fine_tune(hub, samples(16, seed=3), spoiled))
    assert "made nothing better" in caplog.text


def test_what_does_not_learn_stays(hub):
    options = FineTuneOptions(steps=8, batch=4, rate=0.05, learns=("scales",), augment=())
    learned = _fine_tune(hub, samples(16, seed=3), options)
    for before, after in zip(activation_pairs(hub), activation_pairs(learned), strict=True):
        assert (before.scale, before.zero_point) == (after.scale, after.zero_point)


def _labelled(count: int, classes: int = CLASSES):
    for number, sample in enumerate(samples(count, seed=3)):
        yield sample, np.array([number % classes])


def test_labels(hub):
    learned = _fine_tune(hub, (), labelled=list(_labelled(16)))
    assert len(weight_pairs(learned)) == len(weight_pairs(hub))


@pytest.mark.parametrize(
    ("given", "labelled", "says"),
    [
        (samples(5), None, "needs at least 8, and there are 5"),
        ([{"x": np.zeros((1, 3, 5, 5), np.float32)}] * 9, None, "'x'"),
        (
            (),
            list(_labelled(16, CLASSES + 1)),
            f"labelled {CLASSES}, and the model's output has {CLASSES} classes",
        ),
    ],
)
def test_samples_that_do_not_do(hub, given, labelled, says):
    with pytest.raises(TvmqError, match=says):
        _fine_tune(hub, given, labelled=labelled)


def _image_to_image(b, x):
    return b.add(relax.op.nn.conv2d(b.add(relax.op.nn.relu(x)), const(4, 3, 3, 3), padding=1))


def test_labels_of_a_model_without_classes():
    with pytest.raises(TvmqError, match="labels are for models with an output"):
        _fine_tune(calibrated(body=_image_to_image), (), labelled=list(_labelled(16)))


@pytest.fixture(scope="module")
def quantized():
    learning = FineTuneOptions(steps=40, batch=4, rate=0.005, augment=())
    options = QuantizeOptions(rounding="nearest", fine_tune=learning)
    given = samples(24, seed=6)
    return tvmq.quantize(module({"x": SHAPE}, classifier), "w4a4", calibration=given, options=options)


def test_the_report_shows_each_tensor_before_and_after(quantized):
    assert quantized.stages.untuned is not None
    report = quantized.report(samples(4, seed=6))
    activations = [tensor for tensor in report.tensors if tensor.kind != "weights"]
    assert all(tensor.untuned_sqnr is not None for tensor in activations)
    assert any(tensor.untuned_sqnr != tensor.accumulated_sqnr for tensor in activations)


def test_what_was_trained_comes_in_from_a_file_exactly(quantized, tmp_path):
    quantized.to_onnx(tmp_path / "q.onnx")
    own, other = tvmq.compile(quantized), tvmq.compile(tmp_path / "q.onnx")
    for sample in samples(5, seed=9):
        results = (next(iter(package.run(sample).values())) for package in (own, other))
        assert np.array_equal(*results)


def test_the_gradient_of_signs_is_one_of_two():
    def dense(b, x):
        for seed in range(2):
            x = b.add(relax.op.nn.relu(b.add(relax.op.matmul(x, const(16, 16, seed=seed)))))
        return b.add(relax.op.matmul(x, const(16, 16, seed=2)))

    given = [{"x": random(1, 16, seed=seed)} for seed in range(8)]
    options = QuantizeOptions(rounding="nearest")
    quantized = tvmq.quantize(module({"x": (1, 16)}, dense), "binary", calibration=given, options=options)
    with pytest.raises(TvmqError, match=r"unknown gradient of signs 'bireal'; did you mean 'bi-real'"):
        quantized.trainable(sign_gradient="bireal")
    images = {"x": np.concatenate([sample["x"] for sample in given])}

    def loss(outputs):
        ((name, output),) = outputs.items()
        return 0.0, {name: np.ones_like(output)}

    straight, other = (
        quantized.trainable(8, sign).loss_and_gradients(images, loss)[1] for sign in ("straight", "bi-real")
    )
    assert any(not np.allclose(straight[name], other[name]) for name in straight)


def _chain(b, x):
    """Eight convolutions: two sections and more."""
    for place in range(8):
        weight = const(3, 3, 1, 1, seed=place)
        x = b.add(relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, weight))))
    return x


def test_a_teacher_without_pairs_is_compared_with_in_its_results_alone():
    """It is from before equalization, which changes what layers inside give."""
    hub = calibrated(body=_chain)
    own, other = (network(hub, each, unoptimized, batch=1) for each in (hub, module({"x": SHAPE}, _chain)))
    assert {term.result for term in other.terms} == {own.results}
    assert {term.result for term in own.terms} > {own.results}


def test_fine_tuning_needs_samples():
    mod = module({"x": (4, 16)}, lambda b, x: b.add(relax.op.matmul(x, const(16, 8))))
    with pytest.raises(TvmqError, match="fine_tune"):
        tvmq.quantize(mod, "dynamic", options=QuantizeOptions(fine_tune=OPTIONS))
