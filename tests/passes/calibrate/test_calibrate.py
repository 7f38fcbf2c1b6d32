"""Parameters from samples: the values that each pair stands behind, in one pass, whatever gives the samples."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.annotation import is_unknown
from tvmq.passes.hub.graph import bindings_of, dtype_of, is_constant, layer_name, shape_of, to_numpy
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.bias_correction import CorrectBias
from tvmq.passes.realize.fold_weights import FoldWeights

from ..modules import calls, const, module, random, run

SHAPE = (1, 4, 6, 6)
SAMPLES = [{"x": random(*SHAPE, seed=seed)} for seed in range(5)]


def _float(weight=None):
    weight = random(4, 4, 3, 3, seed=1) if weight is None else weight

    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, relax.const(weight)), "c1")
        return b.add(relax.op.nn.conv2d(b.add(relax.op.nn.relu(first), "relu"), const(4, 4, 3, 3)), "c2")

    return module({"x": SHAPE}, body)


def _annotated(mod=None, **options):
    return Annotate(get_scheme("int8"), None, QuantizeOptions(**options))(mod or _float())


def _activations(mod):
    """Return (scale, zero point) of each activation pair in order."""
    return [
        (to_numpy(call.args[1]), to_numpy(call.args[2]))
        for call in calls(mod, "quantize")
        if not is_constant(call.args[0])
    ]


def test_parameters_are_those_of_the_values_that_were_seen():
    mod = Calibrate(SAMPLES, observer="minmax")(_annotated())
    (input_scale, input_zero), (scale, zero) = _activations(mod)
    low, high = (function(sample["x"] for sample in SAMPLES) for function in (_lowest, _highest))
    assert input_scale == np.float32((high - low) / 255) and input_scale.dtype == np.float32
    assert int(input_zero) == round(-low / float(input_scale)) and input_zero.dtype == np.uint8
    relu = _observe_relu()
    # The convolution's sum of 36 products may be taken in another order: a few roundings of 2^-24.
    assert float(scale) == pytest.approx(relu / 255, rel=1e-5) and int(zero) == 0


def _lowest(arrays):
    return min(float(array.min()) for array in arrays)


def _highest(arrays):
    return max(float(array.max()) for array in arrays)


def _observe_relu():
    """Return the largest value behind relu, from a module that ends there."""
    mod = module(
        {"x": SHAPE}, lambda b, x: b.add(relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3)))))
    )
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]
    return max(float(main(tvm.runtime.tensor(sample["x"])).numpy().max()) for sample in SAMPLES)


def test_both_halves_of_a_pair_agree_and_none_is_unknown():
    mod = Calibrate(SAMPLES)(_annotated())
    assert not any(is_unknown(binding.value) for binding in bindings_of(mod))
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    for call in calls(mod, "dequantize"):
        if not is_constant(call.args[0]):
            quantize = values[call.args[0]]
            assert all(np.array_equal(to_numpy(call.args[i]), to_numpy(quantize.args[i])) for i in (1, 2))


def test_weights_become_integers():
    mod = FoldWeights()(Calibrate(SAMPLES)(_annotated()))
    weight = next(call for call in calls(mod, "dequantize") if is_constant(call.args[0]))
    original = random(4, 4, 3, 3, seed=1)
    scale = (np.abs(original).reshape(4, -1).max(axis=1).astype(np.float64) / 127).astype(np.float32)
    np.testing.assert_array_equal(to_numpy(weight.args[1]), scale)
    expected = np.rint(original / scale.reshape(4, 1, 1, 1))
    np.testing.assert_array_equal(to_numpy(weight.args[0]), expected.astype(np.int8))
    assert (dtype_of(weight.args[2]), shape_of(weight.args[2]), int(weight.attrs.axis)) == ("int8", (4,), 0)


def test_one_scale_a_tensor():
    mod = FoldWeights()(Calibrate(SAMPLES)(_annotated(per_channel=False)))
    weight = next(call for call in calls(mod, "dequantize") if is_constant(call.args[0]))
    assert to_numpy(weight.args[1]).tolist() == [np.float32(np.abs(random(4, 4, 3, 3, seed=1)).max() / 127)]


def test_symmetric_activations():
    mod = Calibrate(SAMPLES, observer="minmax")(_annotated(activations="symmetric"))
    assert [int(zero) for _, zero in _activations(mod)] == [128, 128]


def test_the_simulation_is_near_the_float_model():
    exact, simulated = run(_float())[0], run(Calibrate(SAMPLES, observer="minmax")(_annotated()))[0]
    error = np.linalg.norm(simulated - exact) / np.linalg.norm(exact)
    # Three roundings to 8 bits (data, weights, relu) of about 0.3 % to 1 % each.
    assert 0.0 < error < 0.03


def test_a_generator_will_do_and_progress_is_shown():
    shown = []

    @contextmanager
    def progress(description, total):
        class Bar:
            def update(self, count):
                shown.append((description, total, count))

        yield Bar()

    once = (sample for sample in SAMPLES)
    mod = Calibrate(once, progress=progress)(_annotated())
    tvm.ir.assert_structural_equal(mod, Calibrate(SAMPLES)(_annotated()))
    assert shown == [("calibrate", None, 1)] * 5


def test_the_runner_gets_one_float_module():
    seen = []

    def runner(mod):
        seen.append(mod)
        return lambda inputs: [inputs["x"], np.ones((1, 4, 4, 4), "float32")]

    mod = Calibrate(SAMPLES, runner=runner)(_annotated())
    assert len(seen) == 1 and not calls(seen[0], "quantize") + calls(seen[0], "dequantize")
    assert float(_activations(mod)[1][0]) == np.float32(1 / 255)


def _biases(mod):
    return [to_numpy(call.args[1]).reshape(-1) for call in calls(mod, "add")]


def _mean_result(mod):
    """Return the mean of each output channel over the samples."""
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]
    return np.mean(
        [main(tvm.runtime.tensor(sample["x"])).numpy().mean((0, 2, 3)) for sample in SAMPLES], axis=0
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("biased", [False, True])
def test_the_bias_takes_the_mean_error_of_the_weights(groups, biased):
    def body(b, x):
        weight = relax.const(random(4, 4 // groups, 1, 1) * np.float32(1) + np.float32(0.3))
        value = b.add(relax.op.nn.conv2d(x, weight, groups=groups), "conv")
        return b.add(relax.op.add(value, const(1, 4, 1, 1, seed=9)), "conv") if biased else value

    float_mod = module({"x": SHAPE}, body)
    # One scale for all makes the errors large.
    calibrated = Calibrate(SAMPLES)(_annotated(float_mod, per_channel=False))
    plain, corrected = FoldWeights()(calibrated), FoldWeights()(CorrectBias(SAMPLES)(calibrated))
    weights = next(call for call in calls(plain, "dequantize") if is_constant(call.args[0]))
    restored = to_numpy(weights.args[0]) * to_numpy(weights.args[1])
    error = restored - (random(4, 4 // groups, 1, 1) + np.float32(0.3))
    means = np.mean([sample["x"].mean((0, 2, 3)) for sample in SAMPLES], axis=0)
    by_group = means.reshape(groups, -1).repeat(4 // groups, axis=0)
    shift = (error[:, :, 0, 0] * by_group).sum(axis=1)
    before = _biases(plain)[0] if biased else np.zeros(4)
    np.testing.assert_allclose(_biases(corrected)[0], before - shift, atol=1e-6)
    assert len(_biases(corrected)) == 1
    exact = _mean_result(float_mod)
    assert np.abs(_mean_result(corrected) - exact).max() < np.abs(_mean_result(plain) - exact).max()


def test_dense_biases_are_corrected_too():
    mod = module({"x": (3, 4)}, lambda b, x: b.add(relax.op.matmul(x, const(4, 6)), "dense"))
    samples = [{"x": random(3, 4, seed=seed) + np.float32(1)} for seed in range(3)]
    corrected = FoldWeights()(CorrectBias(samples)(Calibrate(samples)(_annotated(mod))))
    weights = next(call for call in calls(corrected, "dequantize") if is_constant(call.args[0]))
    error = to_numpy(weights.args[0]) * to_numpy(weights.args[1]) - random(4, 6, seed=1)
    means = np.mean([sample["x"].mean(0) for sample in samples], axis=0)
    np.testing.assert_allclose(_biases(corrected)[0], -(means @ error), atol=1e-6)
    assert layer_name(calls(corrected, "add")[0]) == "dense"


def test_concatenated_inputs_share_parameters():
    def body(b, x):
        small = b.add(relax.op.nn.conv2d(x, relax.const(random(4, 4, 1, 1) * np.float32(0.01))), "small")
        large = b.add(relax.op.nn.conv2d(x, const(4, 4, 1, 1)), "large")
        joined = b.add(relax.op.concat([small, large], axis=1), "concat")
        return b.add(relax.op.nn.conv2d(joined, const(4, 8, 1, 1)), "last")

    mod = Calibrate(SAMPLES)(_annotated(module({"x": SHAPE}, body)))
    _, small, large, joined = _activations(mod)
    assert small == large == joined


def test_records_have_scales_and_sizes():
    layers = {layer.name: layer for layer in get_layers(FoldWeights()(Calibrate(SAMPLES)(_annotated())))}
    details = layers["c1"].details
    assert details["weight_bytes"] == 4 * 4 * 9 and details["output_dtype"] == "uint8"
    assert details["output_scale"] > 0 and details["output_zero_point"] == 0
    assert layers["relu"].details == {"fused_into": "c1"}
    json.dumps(details)


def test_a_calibrated_module_is_left_as_it_is():
    mod = Calibrate(SAMPLES)(_annotated())
    assert Calibrate([])(mod).same_as(mod)


class TestBadInput:
    def test_no_samples(self):
        with pytest.raises(TvmqError, match="there are no calibration samples"):
            Calibrate([])(_annotated())

    def test_a_sample_that_does_not_fit(self):
        with pytest.raises(
            TvmqError, match=r"calibration sample 1, input 'x': expected shape \[1, 4, 6, 6\]"
        ):
            Calibrate([SAMPLES[0], {"x": random(4, 6, 6)}])(_annotated())

    def test_a_layer_that_overflows(self):
        with pytest.raises(TvmqError, match="calibration sample 0: layer 'relu' gives NaN or infinity"):
            # Positive throughout, so that the sum is infinity: relu would take a NaN for zero.
            mod = _float(np.full((4, 4, 3, 3), 1e38, "float32"))
            Calibrate([{"x": np.ones(SHAPE, "float32")}])(_annotated(mod))

    @pytest.mark.parametrize("field", ["observer", "weight_observer"])
    def test_an_unknown_observer(self, field):
        with pytest.raises(TvmqError, match="did you mean 'minmax'"):
            Calibrate(SAMPLES, **{field: "minmx"})
