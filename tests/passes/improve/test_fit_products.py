"""Products behind layer norms: smoothed and static, dynamic, or float, by what rounding leaves of their results."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.product_choices import product_choices
from tvmq.passes.hub.row_pairs import row_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.fit_products import FitProducts
from tvmq.passes.improve.product_error import ROWS, ProductError, RowSample

from ..modules import assert_close, const, module, operators, random

SHAPE = (1, 6, 16)
LARGE_CHANNELS = np.where(np.arange(16) % 5 == 0, 60.0, 1.0).astype("float32")
LARGE_TOKENS = np.array([1, 1, 400, 1, 1, 1], "float32").reshape(1, 6, 1)
SAMPLES = [{"x": random(*SHAPE, seed=seed)} for seed in range(3)]


def encoder(b, x):
    """A layer norm with large channels for one product, and values with a large token for another."""
    normal = b.add(relax.op.nn.layer_norm(x, relax.const(LARGE_CHANNELS), const(16), [-1]))
    hidden = b.add(relax.op.matmul(normal, const(16, 24, seed=2)), "behind_norm")
    hidden = b.add(relax.op.multiply(b.add(relax.op.nn.gelu(hidden)), relax.const(LARGE_TOKENS)))
    return b.add(relax.op.matmul(hidden, const(24, 16, seed=3)), "of_tokens")


MODULE = module({"x": SHAPE}, encoder)


def test_large_channels_are_smoothed_and_large_tokens_are_dynamic():
    fitted = FitProducts(SAMPLES)(MODULE)
    assert_close(MODULE, fitted, products=24 * 400)
    assert operators(fitted).count("multiply") == operators(MODULE).count("multiply") + 1
    choices = product_choices(fitted)
    assert {name: choice.way for name, choice in choices.items()} == {
        "behind_norm": "static",
        "of_tokens": "dynamic",
    }
    assert (
        "smoothed by" in choices["behind_norm"].reason and "dB with one a row" in choices["of_tokens"].reason
    )


@pytest.mark.parametrize("scales", ["static", "dynamic"])
def test_one_way_for_all_on_request(scales):
    fitted = FitProducts([] if scales == "dynamic" else SAMPLES, scales=scales)(MODULE)
    assert {choice.way for choice in product_choices(fitted).values()} == {scales}


def test_a_product_of_which_nothing_is_left_stays_float():
    fitted = FitProducts(SAMPLES, float_below=90.0)(MODULE)
    assert {choice.way for choice in product_choices(fitted).values()} == {"float"}
    annotated = Annotate(get_scheme("int8"))(fitted)
    reasons = {
        layer.name: layer.reason for layer in get_layers(annotated) if layer.name.startswith(("b", "of"))
    }
    assert all("dB of its result are left" in reason for reason in reasons.values())
    assert "quantize" not in operators(annotated)


def test_what_was_chosen_is_annotated_and_calibrated():
    hub = Calibrate(SAMPLES)(Annotate(get_scheme("int8"))(FitProducts(SAMPLES)(MODULE)))
    assert operators(hub).count("quantize") == 3  # both weights, and the static input
    assert len(row_pairs(hub)) == 1
    assert {layer.name: layer.status for layer in get_layers(hub)}["of_tokens"] == "int8"


def test_a_network_without_layer_norms_stays_as_it_is():
    mod = module({"x": SHAPE}, lambda b, x: b.add(relax.op.matmul(x, const(16, 8))))
    assert not product_choices(FitProducts(SAMPLES)(mod))


def test_without_samples_it_says_what_needs_none():
    with pytest.raises(TvmqError, match="'dynamic'"):
        FitProducts([])(MODULE)


def test_weights_that_are_no_numbers_are_named():
    weight = np.full((8, 4), np.nan, np.float32)
    mod = module({"x": (2, 8)}, lambda b, x: b.add(relax.op.matmul(x, relax.const(weight)), "product"))
    with pytest.raises(TvmqError, match="the weights of layer 'product' hold NaN or infinity"):
        FitProducts([], None)(mod)


def observed(*arrays):
    sample = RowSample()
    for array in arrays:
        sample.update(array)
    return sample


def test_errors_are_those_of_their_formulas():
    rows, weight = random(40, 8, seed=4), random(8, 5, seed=5)
    rows[:, 3] *= 50
    error = ProductError(observed(rows[None, :20], rows[None, 20:]), [weight])
    kept = error.data.rows
    low, high = rows.min(), rows.max()
    step = np.float32((high - low) / 255)
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(kept / step) + zero, 0, 255) - zero) * step
    scales = np.abs(weight).max(axis=0) / 127
    exact = kept @ weight
    noise = rounded @ (np.rint(weight / scales) * scales) - exact
    signal = np.square(exact).sum(axis=1)
    lost = np.square(noise).sum(axis=1) / np.maximum(signal, 0.01 * signal.mean())
    expected = -10 * np.log10(np.minimum(lost, 1).mean())
    assert error.static() == pytest.approx(expected, abs=0.01)
    factors = np.where(np.arange(8) == 3, 7.0, 1.0)
    assert error.static(factors) > error.static() + 3


def test_rows_are_sampled_and_ranges_are_of_all():
    arrays = [random(1, 100, 4, seed=seed) for seed in range(60)]
    sample = observed(*arrays)
    assert ROWS <= len(sample.rows) <= ROWS + 16
    np.testing.assert_array_equal(sample.high, np.concatenate(arrays, axis=1).max(axis=(0, 1)))
    np.testing.assert_array_equal(sample.largest, np.abs(np.concatenate(arrays, axis=1)).max(axis=(0, 1)))
