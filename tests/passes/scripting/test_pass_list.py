"""A pipeline as a list: finding, adding and taking out; what runs, and what is checked behind a pass of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes import (
    Annotate,
    Calibrate,
    CalibrationData,
    CorrectBias,
    Equalize,
    FoldWeights,
    Layout,
    Pipeline,
    Prepare,
    QuantizeOptions,
    default_pipeline,
    get_scheme,
)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
TARGET = "llvm -mcpu=native"


def _names(pipeline):
    return [step.info.name.removeprefix("tvmq.") for step in pipeline]


@tvm.transform.module_pass(opt_level=0, name="mine")
def mine(mod, ctx):
    return mod


@tvm.transform.module_pass(opt_level=0, name="forgets")
def forgets(mod, ctx):
    return tvm.IRModule(mod.functions)


@pytest.fixture
def pipeline():
    return default_pipeline("int8", None, [])


@pytest.fixture(scope="module")
def samples():
    return [{"image": image[None]} for image in np.load(DIGITS / "calibration.npz")["image"][:4]]


@pytest.fixture(scope="module")
def mod():
    return tvmq.load_onnx(DIGITS / "digits.onnx")


def test_it_is_a_list(pipeline):
    assert _names(pipeline) == [
        "Prepare",
        "FitProducts",
        "Annotate",
        "SetParameters",
        "Calibrate",
        "SpareLayers",
        "CorrectBias",
        "FoldWeights",
    ]
    assert len(pipeline) == 8 and isinstance(pipeline[0], Prepare)
    pipeline.append(Layout())
    pipeline[2], pipeline[3] = pipeline[3], pipeline[2]
    assert _names(pipeline)[2:4] == ["SetParameters", "Annotate"] and _names(pipeline)[-1] == "Layout"


def test_passes_are_found_by_class_name_or_themselves(pipeline):
    assert pipeline.index(Calibrate) == pipeline.index("Calibrate") == pipeline.index("tvmq.Calibrate") == 4
    assert pipeline.index(pipeline[4]) == 4
    assert Calibrate in pipeline and "Calibrate" in pipeline and Equalize not in pipeline
    assert _names(pipeline.before(Calibrate)) == ["Prepare", "FitProducts", "Annotate", "SetParameters"]
    pipeline.insert_before(Annotate, Equalize([]), mine)
    pipeline.insert_after("CorrectBias", mine)
    pipeline.remove("SetParameters")
    pipeline.replace(Prepare, mine)
    assert _names(pipeline) == [
        "mine",
        "FitProducts",
        "Equalize",
        "mine",
        "Annotate",
        "Calibrate",
        "SpareLayers",
        "CorrectBias",
        "mine",
        "FoldWeights",
    ]
    assert pipeline.index(mine) == pipeline.index("mine") == 0


def test_a_pass_that_is_not_there(pipeline):
    with pytest.raises(TvmqError, match="unknown pass in the pipeline 'Calibrat'; did you mean 'Calibrate'?"):
        pipeline.index("Calibrat")
    with pytest.raises(TvmqError, match="unknown pass in the pipeline 'Equalize'"):
        pipeline.remove(Equalize)
    with pytest.raises(TvmqError, match="unknown pass in the pipeline 'mine'"):
        pipeline.insert_after(mine, Layout())


def test_the_default_is_what_quantize_runs(mod, samples):
    found = default_pipeline("int8", TARGET, tvmq.calibration_data(samples, mod))(mod)
    wanted = tvmq.quantize(mod, "int8", TARGET, samples)
    tvm.ir.assert_structural_equal(found, wanted.mod)
    again = tvm.transform.Sequential(default_pipeline("int8", TARGET, iter(samples)))(mod)
    assert _scales(again) == pytest.approx(_scales(found), rel=1e-4)  # other kernels have run the samples


def _scales(mod):
    return [pair.scale for pair in tvmq.passes.activation_pairs(mod)]


def test_options_and_schemes(samples):
    options = QuantizeOptions(equalize=True, bias_correction="none")
    names = _names(default_pipeline(get_scheme("int8"), TARGET, CalibrationData(samples), options=options))
    assert names == [
        *("Prepare", "FitProducts", "Equalize", "Annotate", "SetParameters", "Calibrate", "SpareLayers"),
        "FoldWeights",
    ]
    assert _names(default_pipeline("weight-only", None, ())) == ["Prepare", "CompressWeights"]
    with pytest.raises(TvmqError, match="unknown quantization scheme 'int9'; did you mean 'int8'"):
        default_pipeline("int9", None, [])
    with pytest.raises(
        TvmqError, match="the bits of scheme 'mixed' are searched for, which tvmq.quantize does"
    ):
        default_pipeline("mixed", None, [])


def test_passes_in_the_wrong_order_say_so(pipeline, mod):
    pipeline.remove(Annotate)
    with pytest.raises(
        TvmqError, match="^SetParameters: needs quantize/dequantize pairs, and there are none"
    ):
        pipeline(mod)


def test_what_a_pass_of_ones_own_leaves_is_checked(mod):
    passes = Pipeline([Prepare(), Annotate(get_scheme("int8")), mine])
    assert passes(mod).same_as(Pipeline(passes)(mod)) is False  # runs anew each time
    passes.append(forgets)
    with pytest.raises(TvmqError, match="^forgets: leaves a module .* attribute 'tvmq.layers' is lost"):
        passes(mod)


def test_relax_passes_are_passes(mod):
    passes = Pipeline([Prepare(), relax.transform.DeadCodeElimination(), Annotate(get_scheme("int8"))])
    assert passes.index("DeadCodeElimination") == 1
    tvm.ir.assert_structural_equal(passes(mod), Annotate(get_scheme("int8"))(Prepare()(mod)))


def test_what_is_no_pass(mod):
    with pytest.raises(
        TvmqError, match="<function .*> in the pipeline is no pass; expected one of tvm.transform"
    ):
        Pipeline([Prepare(), lambda mod: mod])(mod)


def test_a_cut_pipeline_ends_earlier(mod, samples):
    pipeline = default_pipeline("int8", TARGET, samples)
    calibrated = pipeline.before(CorrectBias)(mod)
    assert not any(pair.is_unknown for pair in tvmq.passes.weight_pairs(calibrated))
    with pytest.raises(TvmqError, match="^Realize: needs quantized weights that are integers"):
        tvmq.compile(tvmq.QuantizedModel(calibrated, "int8"), TARGET)
    pipeline.remove(FoldWeights)
    assert tvmq.passes.weight_pairs(pipeline(mod))
