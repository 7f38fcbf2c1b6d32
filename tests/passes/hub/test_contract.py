"""Each pass in each place: it runs, or says in one line what it needs and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq import passes
from tvmq.errors import TvmqError
from tvmq.passes import CalibrationCache, get_scheme
from tvmq.passes.hub.conditions import CALIBRATED, PAIRS
from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.open_dims import ranges_of
from tvmq.passes.hub.unify import over_sizes
from tvmq.ranges import Range
from tvmq.targets.rows import ROWS

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)
SAMPLES = [{"x": random(*SHAPE, seed=seed)} for seed in range(2)]
ROW = ROWS[0]


def _net(b, x):
    shift = b.add(relax.op.reshape(const(4, seed=3), (1, 4, 1, 1)), "shift", "Reshape")  # Prepare folds it
    value = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1), "first", "Conv")
    value = b.add(relax.op.add(value, shift), "bias", "Add")
    value = b.add(relax.op.nn.relu(value), "relu", "Relu")
    return b.add(relax.op.nn.conv2d(value, const(4, 4, 3, 3, seed=2), padding=1), "second", "Conv")


@pytest.fixture(scope="module")
def stages() -> dict[str, tvm.IRModule]:
    found = {"imported": module({"x": SHAPE}, _net)}
    found["prepared"] = passes.Prepare()(found["imported"])
    found["annotated"] = passes.Annotate(get_scheme("int8"), ROW)(found["prepared"])
    found["calibrated"] = passes.Calibrate(SAMPLES)(found["annotated"])
    found["folded"] = passes.FoldWeights()(found["calibrated"])
    found["calibrated, laid out"] = passes.Layout()(found["calibrated"])
    found["laid out"] = passes.Layout()(found["folded"])
    found["realized"] = passes.Realize(ROW)(found["laid out"])
    found["compressed"] = passes.CompressWeights(get_scheme("weight-only"))(found["prepared"])
    return found


EVERYWHERE = {
    "imported",
    "prepared",
    "annotated",
    "calibrated",
    "folded",
    "calibrated, laid out",
    "laid out",
    "realized",
    "compressed",
}
WITH_PAIRS = {"annotated", "calibrated", "folded", "calibrated, laid out", "laid out"}
CALIBRATED_ONES = WITH_PAIRS - {"annotated"}

PLACES = {
    passes.Prepare(): EVERYWHERE,
    passes.Smooth(SAMPLES): {"prepared"},
    passes.Equalize(SAMPLES): {"prepared"},
    passes.AbsorbBias(SAMPLES): {"prepared"},
    passes.CenterActivations(SAMPLES): {"prepared"},
    passes.EqualizeActivations(SAMPLES): {"prepared"},
    passes.Annotate(get_scheme("int8"), ROW): {"prepared"},
    passes.TuneMixedBits(
        get_scheme("int8"), ROW, passes.QuantizeOptions(weight_bits=0), SAMPLES, cosine=0.0
    ): {"prepared"},
    passes.CompressWeights(get_scheme("weight-only")): {"prepared"},
    passes.SetParameters(CalibrationCache()): WITH_PAIRS,
    passes.Calibrate(SAMPLES): WITH_PAIRS,
    passes.LossAwareClip(SAMPLES): CALIBRATED_ONES,
    passes.CorrectBias(SAMPLES): {"calibrated"},
    passes.CorrectBiasSequentially(SAMPLES): {"calibrated"},
    passes.CorrectBiasFromWeights(): {"calibrated"},
    passes.RoundWeights(SAMPLES): {"calibrated"},
    passes.Reconstruct(SAMPLES): {"calibrated"},
    passes.FoldWeights(): CALIBRATED_ONES,
    passes.Layout(): EVERYWHERE,
    passes.Realize(ROW): {"laid out"},
    passes.RestoreWeights(): EVERYWHERE,
}
"""Where each pass may be called; everywhere else it must refuse."""

REMEDY = r"(run \w+( \w+)+|what is quantized already is compiled as it is)"
SLOW = ("LossAwareClip", "Reconstruct", "TuneMixedBits")
"""Their tests call them in the right place."""


@pytest.mark.parametrize("step", PLACES, ids=lambda step: step.info.name.removeprefix("tvmq."))
def test_each_pass_in_each_place(step, stages):
    name = step.info.name.removeprefix("tvmq.")
    for stage, mod in stages.items():
        if stage not in PLACES[step]:
            with pytest.raises(TvmqError, match=rf"^{name}: needs [^;]*, and [^;]*; {REMEDY}$"):
                step(mod)
        elif name not in SLOW:
            assert isinstance(step(mod), tvm.IRModule), stage


@pytest.mark.parametrize(
    ("stage", "step", "needed", "found", "remedy"),
    [
        (
            "prepared",
            passes.Calibrate([]),
            "quantize/dequantize pairs",
            "there are none",
            "run Annotate before it",
        ),
        (
            "annotated",
            passes.Realize(ROW),
            "pairs whose scales are known",
            "that of value 'x' is not",
            "run Calibrate before it",
        ),
        (
            "calibrated, laid out",
            passes.Realize(ROW),
            "quantized weights that are integers",
            "those of layer 'first' are float",
            "run FoldWeights before it",
        ),
        (
            "folded",
            passes.Realize(ROW),
            "images in NHWC",
            "those of layer 'first' are in NCHW",
            "run Layout before it",
        ),
        (
            "laid out",
            passes.CorrectBias([]),
            "quantized weights that are still float",
            "those of layer 'first' are integers",
            "run it before FoldWeights",
        ),
        (
            "calibrated, laid out",
            passes.CorrectBias([]),
            "images in NCHW",
            "those of layer 'first' are in NHWC",
            "run it before Layout",
        ),
        (
            "imported",
            passes.Annotate(get_scheme("int8")),
            "a prepared module",
            "layer 'shift' is not in the form that Prepare gives it",
            "run Prepare before it",
        ),
        (
            "calibrated",
            passes.Equalize([]),
            "a float model without quantize/dequantize pairs",
            "value 'x' has one",
            "run it before Annotate",
        ),
        (
            "folded",
            passes.Annotate(get_scheme("int8")),
            "a float model without quantize/dequantize pairs",
            "value 'x' has one",
            "what is quantized already is compiled as it is",
        ),
        (
            "realized",
            passes.FoldWeights(),
            "a module that is not realized as integers",
            "this one is",
            "run it before Realize",
        ),
        (
            "compressed",
            passes.Annotate(get_scheme("int8")),
            "weights that are not compressed",
            "those of layer 'first' are",
            "run it before CompressWeights",
        ),
    ],
)
def test_what_is_said(stage, step, needed, found, remedy, stages):
    """The same alone and in TVM's own ``Sequential``."""
    name = step.info.name.removeprefix("tvmq.")
    for called in (step, tvm.transform.Sequential([step])):
        with pytest.raises(TvmqError) as caught:
            called(stages[stage])
        assert str(caught.value) == f"{name}: needs {needed}, and {found}; {remedy}"


def test_scales_are_written_when_they_are_known(stages, tmp_path):
    write = passes.WriteParameters(tmp_path / "scales.json")
    with pytest.raises(
        TvmqError, match="^WriteParameters: needs pairs whose scales are known, and that of value 'x'"
    ):
        write(stages["annotated"])
    assert write(stages["calibrated"]) is not None and (tmp_path / "scales.json").exists()


def test_what_a_model_without_anything_to_quantize_passes_through():
    """It has no pairs, and no pass may ask for them."""
    mod = module({"x": SHAPE}, lambda b, x: b.add(relax.op.nn.softmax(x), "softmax", "Softmax"))
    for step in (*passes.default_pipeline("int8", ROW, SAMPLES), passes.Layout(), passes.Realize(ROW)):
        mod = step(mod)
    assert [layer.status for layer in passes.get_layers(mod)] == ["float"]


def test_a_pass_of_ones_own_may_have_a_contract(stages):
    @passes.module_pass(requires=(PAIRS,), ensures=(CALIBRATED,))
    @dataclass(frozen=True)
    class Forgetful:
        """Does nothing."""

        def transform_module(self, mod, ctx):
            return mod

    assert Forgetful()(stages["calibrated"]).same_as(stages["calibrated"])
    assert Forgetful.requires == (PAIRS,) and Forgetful.ensures == (CALIBRATED,)
    with pytest.raises(TvmqError, match="^Forgetful: needs quantize/dequantize pairs, and there are none"):
        Forgetful()(stages["prepared"])
    with pytest.raises(TvmqError, match="^Forgetful: was to leave pairs whose scales are known, and that of"):
        Forgetful()(stages["annotated"])


def test_passes_that_came_through_give_the_same_numbers(stages):
    """Calibrating behind ``Layout`` is allowed, so it must be right."""
    late = passes.Calibrate(SAMPLES)(passes.Layout()(stages["annotated"]))
    scales = [[pair.scale for pair in passes.activation_pairs(mod)] for mod in (stages["calibrated"], late)]
    np.testing.assert_array_equal(*scales)


def test_open_modules_go_through_passes_of_static_ones():
    """A pass that knows nothing of open dimensions runs at several sizes; one that runs samples says so."""
    ranges = {"N": Range(1, 4)}
    mod = over_sizes(lambda sizes: module({"x": (sizes["N"], *SHAPE[1:])}, _net), ranges)
    annotated = passes.Annotate(get_scheme("int8"), ROW)(passes.Prepare()(mod))
    assert ranges_of(annotated).keys() == ranges.keys()
    samples = [{"x": random(count, *SHAPE[1:], seed=count)} for count in (1, 3)]
    calibrated = passes.Calibrate(samples)(annotated)
    assert {op_name(binding.value) for binding in bindings_of(calibrated)} >= {"relax.quantize"}
    with pytest.raises(TvmqError, match="Reconstruct: open dimensions are not supported yet"):
        passes.Reconstruct(samples)(calibrated)
