"""A loop of one's own: outputs, losses and gradients in NumPy, for any number of samples, and back into a model."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.train.trainable import TrainableModel

from ..modules import module
from .networks import CLASSES, SHAPE, calibrated, classifier, samples, unoptimized


@pytest.fixture(scope="module")
def model():
    return TrainableModel(calibrated(), unoptimized, 4)


@pytest.fixture
def images():
    return {"x": np.concatenate([sample["x"] for sample in samples(6, seed=4)])}


def _squares(outputs):
    ((name, output),) = outputs.items()
    return 0.5 * float(np.square(output).sum()), {name: output}


def test_samples_fill_batches(model, images):
    whole = model.outputs(images)["output_0"]
    assert whole.shape == (6, CLASSES)
    single = model.outputs({"x": images["x"][4:5]})["output_0"]
    np.testing.assert_allclose(single, whole[4:5], rtol=1e-5, atol=1e-5)


def test_gradients_are_sums_over_samples(model, images):
    loss, gradients = model.loss_and_gradients(images, _squares)
    parts = [model.loss_and_gradients({"x": images["x"][at : at + 1]}, _squares) for at in range(6)]
    np.testing.assert_allclose(loss, sum(part for part, _ in parts), rtol=1e-4)
    assert set(gradients) == set(model.parameters)
    for name, gradient in gradients.items():
        total = np.sum([part[name] for _, part in parts], axis=0)
        np.testing.assert_allclose(gradient, total, rtol=1e-3, atol=1e-3 * np.abs(total).max())


def test_the_gradient_of_the_last_bias_is_that_of_the_loss(model, images):
    """Nothing rounds behind it, so the loss is smooth there."""
    name = next(reversed([name for name in model.parameters if name.startswith("biases:")]))
    start, (_, gradients) = model.parameters, model.loss_and_gradients(images, _squares)
    losses = []
    for step in (0.5, -0.5):
        moved = start[name].copy()
        moved[1] += step
        model.update({name: moved})
        losses.append(model.loss_and_gradients(images, _squares)[0])
    model.update(start)
    assert gradients[name][1] == pytest.approx(losses[0] - losses[1], rel=1e-2)


def test_steps_make_the_loss_smaller(images):
    own = TrainableModel(calibrated(), unoptimized, 4)
    losses = []
    for _ in range(12):
        loss, gradients = own.loss_and_gradients(images, _squares)
        own.step(gradients, 0.02)
        losses.append(loss)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda model, images: model.outputs({"y": images["x"]}), "inputs are .'x'."),
        (lambda model, images: model.outputs({"x": images["x"].astype("f8")}), "float32"),
        (lambda model, images: model.outputs({"x": images["x"][:0]}), "number of samples"),
        (lambda model, images: model.update({"places:none": np.zeros(1)}), "places:none"),
        (lambda model, images: model.update({next(iter(model.parameters)): np.zeros(1)}), "has the shape"),
        (
            lambda model, images: model.loss_and_gradients(images, lambda _: (0.0, {"z": np.zeros(1)})),
            "gradient 'z'",
        ),
    ],
)
def test_what_does_not_fit(model, images, call, says):
    with pytest.raises(TvmqError, match=says):
        call(model, images)


def test_a_quantized_model_learns_and_is_compiled(images):
    given = samples(8)
    mod = module({"x": SHAPE}, classifier)
    quantized = tvmq.quantize(
        mod, "w4a4", calibration=given, options=tvmq.QuantizeOptions(rounding="nearest")
    )
    model = quantized.trainable(batch=3)
    _, gradients = model.loss_and_gradients(images, _squares)
    model.step(gradients, 0.05)
    trained = quantized.trained(model)
    package = tvmq.compile(trained)

    def scores(image):
        (result,) = package.run({"x": image[None]}).values()
        return result

    found = np.concatenate([*map(scores, images["x"])])
    (wanted,) = model.outputs(images).values()
    # Integers and the simulation round a value on the edge of two steps differently now and then.
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99
    (before,) = quantized.trainable(batch=3).outputs(images).values()
    assert not np.allclose(wanted, before)


def test_a_model_that_comes_quantized_cannot_be_trained(tmp_path):
    mod = module({"x": SHAPE}, classifier)
    tvmq.quantize(mod, calibration=samples(2)).to_onnx(tmp_path / "q.onnx")
    with pytest.raises(TvmqError, match="came quantized"):
        tvmq.quantize(tmp_path / "q.onnx").trainable()
