"""What a report compares with where methods have changed the weights before anything was quantized."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tvm import relax

import tvmq
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import rebuild
from tvmq.passes.hub.pairs import float_form
from tvmq.report.stages import Stages

from .networks import convolutions, random

SAMPLES = [{"x": random(1, 4, 8, 8, seed=seed)} for seed in range(4)]


@pytest.fixture(scope="module")
def equalized() -> tvmq.api.QuantizedModel:
    return tvmq.quantize(convolutions(), calibration=SAMPLES, options=QuantizeOptions(equalize=True))


def test_the_stages(equalized):
    plain = tvmq.quantize(convolutions(), calibration=SAMPLES, options=QuantizeOptions())
    assert plain.stages.model is None and equalized.stages.model is not None
    results = [
        compile_for_host(float_form(mod, _outputs(mod)))(SAMPLES[0])[0]
        for mod in (equalized.stages.model, equalized.stages.exact, plain.stages.exact)
    ]
    # Equalization leaves the function as it is, and changes the weights.
    np.testing.assert_allclose(results[1], results[0], atol=1e-5)
    np.testing.assert_array_equal(results[0], results[2])


def _outputs(mod):
    return relax.Tuple([mod["main"].body.body])


def test_tensors_are_those_of_the_changed_model_and_outputs_those_of_the_users(equalized):
    report = equalized.report(SAMPLES)
    assert min(tensor.accumulated_sqnr for tensor in report.tensors if tensor.kind != "weights") > 20.0
    (output,) = report.outputs
    assert 30.0 < output.sqnr < 60.0
    # With another model for the user's, only the outputs are worse.
    other = tvmq.quantize(convolutions(), calibration=SAMPLES).stages
    wrong = Stages(equalized.stages.exact, equalized.stages.simulated, _negated(other.exact))
    changed = dataclasses.replace(equalized, stages=wrong).report(SAMPLES)
    assert changed.outputs[0].sqnr < 10.0
    assert [tensor.accumulated_sqnr for tensor in changed.tensors] == [
        tensor.accumulated_sqnr for tensor in report.tensors
    ]


def _negated(mod):
    """Return the module with its result times -1."""
    result = mod["main"].body.body

    def rewrite(builder, var, value):
        return relax.op.negative(builder.emit(value)) if var.same_as(result) else value

    return rebuild(mod, rewrite)
