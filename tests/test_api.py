"""The public functions together, on the digits example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from tvm import relax

import tvmq
from tvmq.errors import CompilerError, TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.graph import bindings_of, op_name, with_layer_name
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.bias_correction import CorrectBias
from tvmq.passes.prepare.prepare import Prepare
from tvmq.passes.realize.fold_weights import FoldWeights
from tvmq.passes.realize.layout import Layout
from tvmq.passes.realize.realize import Realize
from tvmq.schedules import blame
from tvmq.schedules.pipeline import build
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
TARGET = "llvm -mcpu=native"


@pytest.fixture(scope="module")
def images():
    """Calibration images of the example, float32 (n, 1, 8, 8)."""
    return np.load(DIGITS / "calibration.npz")["image"]


@pytest.fixture(scope="module")
def quantized(images):
    samples = ({"image": image[None]} for image in images)  # a generator, read once
    return tvmq.quantize(DIGITS / "digits.onnx", scheme="int8", target=TARGET, calibration=samples)


def test_quantize_compile_export_load_run(quantized, images, tmp_path):
    package = tvmq.compile(quantized, target=TARGET)
    package.export(tmp_path / "model.tar")
    loaded = tvmq.load(tmp_path / "model.tar")
    feed = {"image": images[:1]}
    np.testing.assert_array_equal(loaded.run(feed)["scores"], package.run(feed)["scores"])
    assert loaded.metadata["scheme"] == "int8"
    assert {layer.status for layer in quantized.layers if layer.op == "Conv"} == {"int8"}


def test_the_passes_one_by_one_give_the_same_integers(quantized, images):
    target = parse_target(TARGET)
    row = row_of(target)
    samples = [{"image": image[None]} for image in images]
    passes = tvm.transform.Sequential(
        [
            Prepare(),
            Annotate(get_scheme("int8"), row, QuantizeOptions()),
            Calibrate(samples),
            CorrectBias(samples),
            FoldWeights(),
            Layout(),
            Realize(row),
        ]
    )
    built = build(passes(load_onnx(DIGITS / "digits.onnx")), target, row)
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]
    expected = tvmq.compile(quantized, TARGET).run({"image": images[:1]})["scores"]
    # Calibration ran on another compiler's float kernels, whose sums differ in their last bits.
    np.testing.assert_allclose(main(tvm.runtime.tensor(images[:1])).numpy(), expected, atol=0.1)


def test_how_many_threads_share_the_work_does_not_show(quantized, images):
    results = [
        tvmq.compile(quantized, f"{TARGET} -num-cores={cores}").run({"image": images[:1]})["scores"]
        for cores in (1, 2)
    ]
    np.testing.assert_array_equal(*results)


def test_a_relax_module_is_a_model(quantized, images):
    mod = load_onnx(DIGITS / "digits.onnx")
    again = tvmq.quantize(mod, target=TARGET, calibration=[{"image": image[None]} for image in images])
    feed = {"image": images[:1]}
    np.testing.assert_array_equal(
        tvmq.compile(again, TARGET).run(feed)["scores"], tvmq.compile(quantized, TARGET).run(feed)["scores"]
    )


def test_a_model_that_ends_earlier_and_whose_input_is_bound(images):
    graph = onnx.load(DIGITS / "digits.onnx").graph
    inner = graph.node[2].output[0]
    short = tvmq.quantize(
        DIGITS / "digits.onnx",
        target=TARGET,
        outputs=[inner],
        calibration=[{"image": images[:1].astype("float64")}],
    )
    assert list(tvmq.compile(short, TARGET).run({"image": images[:1]})) == [inner]
    whole = tvmq.compile(DIGITS / "digits.onnx", TARGET)
    bound = tvmq.compile(DIGITS / "digits.onnx", TARGET, bind={"image": images[:1]})
    np.testing.assert_allclose(bound.run({})["scores"], whole.run({"image": images[:1]})["scores"], atol=1e-4)


def test_bind_and_outputs_are_for_files(quantized):
    with pytest.raises(TvmqError, match="have no effect on a model that quantize returned"):
        tvmq.compile(quantized, TARGET, outputs=["scores"])
    with pytest.raises(TvmqError, match="have no effect on a Relax module"):
        tvmq.compile(load_onnx(DIGITS / "digits.onnx"), TARGET, bind={"image": 1})


def test_what_tvm_cannot_compile_names_the_node(monkeypatch):
    real = blame.build

    def build(mod, *arguments, **options):
        if "relax.nn.max_pool2d" in {op_name(binding.value) for binding in bindings_of(mod)}:
            raise ValueError("Check failed: (false) is false: no pooling")
        return real(mod, *arguments, **options)

    monkeypatch.setattr(blame, "build", build)
    x = relax.Var("x", relax.TensorType((1, 4, 8, 8), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            a = builder.emit(with_layer_name(relax.op.nn.relu(x), "first"))
            b = builder.emit_output(with_layer_name(relax.op.nn.max_pool2d(a, (2, 2)), "pool"))
        builder.emit_func_output(b)
    with pytest.raises(CompilerError) as caught:
        tvmq.compile(builder.get(), TARGET)
    assert str(caught.value).startswith("compiling failed at node 'pool'")
    assert str(caught.value).endswith(": no pooling (not an error of the model that tvmq knows)")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_float_model_without_samples_is_refused():
    with pytest.raises(TvmqError, match="needs calibration samples"):
        tvmq.quantize(DIGITS / "digits.onnx", target=TARGET)


def test_a_dynamic_scheme_needs_none(images):
    quantized = tvmq.quantize(DIGITS / "digits.onnx", "dynamic", TARGET)
    statuses = {layer.name: layer.status for layer in quantized.layers if layer.op in ("Conv", "Gemm")}
    assert statuses.pop("classify") == "dynamic" and set(statuses.values()) == {"float"}
    package = tvmq.compile(quantized, TARGET)
    assert package.metadata["scheme"] == "dynamic"
    calibrated = tvmq.quantize(
        DIGITS / "digits.onnx", "dynamic", TARGET, [{"image": image[None]} for image in images]
    )
    records = tvmq.compile(calibrated, TARGET).metadata["layers"]
    assert {record["status"] for record in records if record["op"] == "Conv"} == {"int8"}
    exact = tvmq.compile(DIGITS / "digits.onnx", TARGET)
    feeds = [{"image": image[None]} for image in images[:50]]
    for each in (package, tvmq.compile(calibrated, TARGET)):
        agree = [np.argmax(each.run(f)["scores"]) == np.argmax(exact.run(f)["scores"]) for f in feeds]
        assert np.mean(agree) > 0.95


def test_an_unknown_scheme_is_refused_with_the_valid_ones():
    with pytest.raises(TvmqError, match="did you mean 'int8'"):
        tvmq.quantize(DIGITS / "digits.onnx", scheme="int18", target=TARGET, calibration=[])


def test_a_name_that_the_package_does_not_have():
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = tvmq.quantise
    assert "quantize" in dir(tvmq)
