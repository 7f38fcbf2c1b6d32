"""``tvmc compile``: from a file to a package that runs, and everything it refuses."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

import tvmq
from tests.open_models import perceptron
from tvmq.runtime.board import run_bundle

TARGET = "llvm -mtriple=x86_64-linux-gnu -mcpu=znver3"
HERE = "llvm -mcpu=native"
WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)


def save_model(path, batch=1, weight=WEIGHT):
    """Write a convolution and a relu, input ``in/x:0`` float32[batch,3,8,8], output ``y``."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["in/x:0", "w"], ["c"], name="first conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "g",
        [helper.make_tensor_value_info("in/x:0", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "a model.onnx")


@pytest.fixture
def samples(tmp_path):
    """Three calibration samples."""
    path = tmp_path / "samples.npz"
    np.savez(path, **{"in/x:0": X})
    return path


def convolved(x, weight):
    """Return the convolution alone, in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), (2, 3)
    )
    return np.einsum("nchwij,ocij->nohw", windows.astype(np.float64), weight.astype(np.float64))


def run_package(tvmc, package, tmp_path):
    """Return output ``y`` of the first sample, by ``tvmc run``."""
    np.savez(tmp_path / "in.npz", **{"in/x:0": X[:1]})
    result = tvmc("run", package, "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert result.code == 0, result.err
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs.files == ["y"]
        return outputs["y"]


def layers_of(tvmc, package):
    """Return the package's layer records by name."""
    records = json.loads(tvmc("inspect", package, "--json").out)["layers"]
    return {record["name"]: record for record in records}


def test_float(tvmc, model, tmp_path):
    package = tmp_path / "my model.tar"
    result = tvmc("compile", model, "--target", HERE, "-o", package)
    assert result.code == 0, result.err
    assert result.err == ""
    assert result.out.startswith(f"{package}: ")
    assert ", float, for llvm -mcpu=" in result.out
    expected = ReferenceEvaluator(onnx.load(model)).run(None, {"in/x:0": X[:1]})[0]
    # 27 products summed in any order: each partial sum is rounded once, relative to at most the sum of magnitudes.
    # The reference itself may be as far off.
    bound = 2 * 28 * 2.0**-24 * convolved(np.abs(X[:1]), np.abs(WEIGHT))
    assert (np.abs(run_package(tvmc, package, tmp_path) - expected) <= bound).all()


def test_dynamic_needs_no_samples(tvmc, model, tmp_path):
    package = tmp_path / "model.tar"
    result = tvmc("compile", model, "--target", HERE, "--quantize", "dynamic", "-o", package)
    assert result.code == 0, result.err
    (conv,) = [record for record in layers_of(tvmc, package).values() if record["op"] == "Conv"]
    assert conv["reason"] == "a convolution needs calibration samples, and there are none"
    result = tvmc("compile", model, "--quantize", "dynamic", "--observer", "mse", "-o", package)
    assert result.code != 0
    assert "observer needs calibration samples, which the scheme 'dynamic' goes without" in result.err


def test_c_library(tvmc, model, samples, tmp_path):
    """Named by the model's file or by --module-name, in a folder or a tar; no cross compiler need be named."""
    flags = ["--quantize", "int8", "--calibration-data", samples, "--output-format", "c-static"]
    result = tvmc(
        "compile", model, *flags, "-o", tmp_path / "lib", "--module-name", "net", "--dump-code", "tir"
    )
    assert result.code == 0, result.err
    assert result.err == ""
    assert "cosine to float on 3 samples, as a package for " in result.out
    line = result.out.splitlines()[-1]
    assert (
        line.startswith(f"{tmp_path / 'lib'}: ")
        and " kB of code, " in line
        and " of workspace, int8, for " in line
    )
    assert {path.name for path in (tmp_path / "lib").iterdir()} == {"libnet.a", "net.h", "main.c"}
    assert "prim_func" in (tmp_path / "lib.tir").read_text()
    arm = "llvm -mtriple=arm-linux-gnueabihf -mcpu=cortex-a7"
    if shutil.which("arm-linux-gnueabihf-gcc"):
        result = tvmc("compile", model, *flags, "--target", arm, "-o", tmp_path / "lib.tar")
        assert result.code == 0, result.err
        with tarfile.open(tmp_path / "lib.tar") as archive:
            assert archive.getnames() == ["liba_model.a", "a_model.h", "main.c"]


def test_levels_of_passes(tvmc, model, tmp_path):
    outputs = []
    for level in range(4):
        assert tvmc("compile", model, "--target", HERE, "-O", level, "-o", tmp_path / "m.tar").code == 0
        outputs.append(run_package(tvmc, tmp_path / "m.tar", tmp_path))
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_targets_are_listed(tvmc):
    for flag in ("--list-target", "--list-targets", "--dump-targets"):
        result = tvmc("compile", flag)
        assert result.code == 0
        assert all(name in result.out for name in ("x86-avx2", "aarch64-neon", "sm_61", "sm_90"))


def test_int8(tvmc, model, samples, tmp_path):
    package = tmp_path / "q.tar"
    flags = [
        "--quantize",
        "int8",
        "--calibration-data",
        samples,
        "--observer",
        "minmax",
        "--weight-observer",
        "minmax",
    ]
    result = tvmc("compile", model, "--target", HERE, *flags, "-o", package)
    assert result.code == 0, result.err
    layer = layers_of(tvmc, package)["first conv"]
    assert (layer["op"], layer["status"]) == ("Conv", "int8")
    # The output stays float, so each product is off by half a step of either factor, and of both.
    data, weight = layer["details"]["data_scale"] / 2, layer["details"]["weight_scale_max"] / 2
    ones = np.ones_like(X[:1])
    bound = data * convolved(ones, np.abs(WEIGHT)) + weight * convolved(
        np.abs(X[:1]) + data, np.ones_like(WEIGHT)
    )
    expected = np.maximum(convolved(X[:1], WEIGHT), 0)
    error = np.abs(run_package(tvmc, package, tmp_path) - expected)
    assert (error <= 1.001 * bound).all()
    assert error.max() > 0


def test_layers_that_are_skipped(tvmc, model, samples, tmp_path):
    flags = ["--quantize", "int8", "--calibration-data", samples, "--skip-layers", "first*"]
    assert tvmc("compile", model, "--target", HERE, *flags, "-o", tmp_path / "q.tar").code == 0
    layer = layers_of(tvmc, tmp_path / "q.tar")["first conv"]
    assert layer["status"] == "float"
    assert layer["reason"] == "skipped by layer 'first*'"


def test_nothing_quantized_is_said(tvmc, model, samples, tmp_path, caplog):
    flags = ["--quantize", "int8", "--calibration-data", samples, "-o", tmp_path / "q.tar"]
    assert tvmc("compile", model, *flags).code == 0
    assert caplog.messages == []
    assert tvmc("compile", model, *flags, "--min-weight-size", "1000").code == 0
    assert caplog.messages == ["nothing is quantized: all layers stay in float, and tvmc inspect says why"]
    caplog.clear()
    assert tvmc("compile", model, "-o", tmp_path / "float.tar").code == 0
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--skip-layers", "frist conv"], "did you mean 'first conv'"),
        (["--skip-ops", "Cnov"], "did you mean 'Conv'"),
        (["--quantize-only", "second*"], "'second*'"),
        (["--observer", "minmxa"], "did you mean 'minmax'"),
        (["--weight-observer", "minmxa"], "did you mean 'minmax'"),
    ],
)
def test_names_that_match_nothing(tvmc, model, samples, tmp_path, flags, message):
    quantize = ["--quantize", "int8", "--calibration-data", samples]
    result = tvmc("compile", model, "--target", HERE, *quantize, *flags, "-o", tmp_path / "out.tar")
    refused(result, tmp_path, message)


def test_quantization_needs_samples(tvmc, model, tmp_path):
    result = tvmc("compile", model, "--target", HERE, "--quantize", "int8", "-o", tmp_path / "out.tar")
    refused(result, tmp_path, "--calibration-data")


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="needs aarch64-linux-gnu-gcc")
def test_another_architecture(tvmc, model, samples, tmp_path):
    flags = ["--target", "raspberry-pi/4b-aarch64"]
    flags += ["--quantize", "int8", "--calibration-data", samples]
    assert tvmc("compile", model, *flags, "-o", tmp_path / "arm.tar").code == 0
    assert json.loads(tvmc("inspect", tmp_path / "arm.tar", "--json").out)["arch"] == "aarch64"
    result = tvmc("run", tmp_path / "arm.tar")
    assert result.code == 1
    assert "is compiled for aarch64; this machine is" in result.err


def refused(result, tmp_path, *messages):
    """Check for one line of error, nothing printed and no output file."""
    assert result.code == 1, result
    assert result.out == ""
    errors = [line for line in result.err.splitlines() if line.startswith("tvmc: error: ")]
    assert len(errors) == 1, result.err
    assert "Traceback" not in result.err
    assert "(not an error of the input" not in errors[0]
    for message in messages:
        assert message in errors[0]
    assert not [path for path in tmp_path.iterdir() if ".tar" in path.name]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target", "llvn"], "unknown target kind, tag or file 'llvn'; did you mean 'llvm'?"),
        (["--target", "vulkan"], "target kind 'vulkan' is not supported yet"),
        (["--target-llvm-mcpu", "znver33"], "unknown CPU (-mcpu) of x86_64 'znver33'; did you mean 'znver3'"),
        (["--target-llvm-num-cores", "x"], "target attribute 'num-cores' must be of type int, got 'x'"),
        (["--target-llvm-mcpu", "nehalem"], "lacks avx2"),
        (
            ["--quantize", "int88"],
            "unknown quantization scheme 'int88'; did you mean 'int8', 'int4', 'int2'?",
        ),
        (["--skip-ops", "Conv"], "--skip-ops has no effect without --quantize"),
        (["--calibration-data", "s.npz"], "--calibration-data has no effect without --quantize"),
        (
            ["--quantize", "int8", "--image-mean", "0.5"],
            "--image-mean has no effect without --calibration-data",
        ),
        (["--quantize", "int8", "--activations", "symetric"], "did you mean 'symmetric'"),
        (["--pass-config", "tirx.UnrollLop={}"], "did you mean 'tirx.UnrollLoop'"),
        (["--pass-config", "tirx.disable_vectorize=perhaps"], "tirx.disable_vectorize to have type bool"),
        (["--tuning-records", "no such"], "tuning records 'no such' do not exist"),
        (
            ["--target", "llvm -mtriple=aarch64-linux-gnu", "--cross-compiler", "g++"],
            "cross compiler 'g++' compiles for x86_64, and the target is aarch64",
        ),
        (["--target", "arm/pixel2"], "no usual compiler for arm64-linux-android"),
        (["--cross-compiler", "no-such-gcc"], "cross compiler 'no-such-gcc' is not on the PATH"),
        (["--input-shapes", "x:[1,3,8,8]"], "'x'"),
        (["--target", "opencl, llvm"], "target kind 'opencl' is not supported yet"),
        (["--target-cuda-arch", "sm_70"], "(arch) has no effect on the target 'llvm', only on 'cuda'"),
        (["--output-format", "mlf"], "--output-format mlf: TVM 0.27 has no microTVM"),
        (["--output-format", "bundle"], "--output-format bundle writes a folder, and --output is "),
        (
            ["--output-format", "c-static", "--module-name", "a-b"],
            "a C library's name must be letters, digits and underscores, got 'a-b'",
        ),
        (["--runtime", "crt"], "--runtime crt: TVM 0.27 has no microTVM"),
        (["--model-format", "keras"], "--model-format keras: models are read in ONNX and TFLite form"),
    ],
)
def test_flags_that_are_refused(tvmc, model, tmp_path, flags, message):
    result = tvmc("compile", model, "--target", TARGET, *flags, "-o", tmp_path / "out.tar")
    refused(result, tmp_path, message)


def test_image_flags_are_checked_first(tvmc, tmp_path):
    flags = ["--quantize", "int8", "--calibration-data", tmp_path, "--image-layout", "nwhc"]
    result = tvmc(
        "compile", tmp_path / "missing.onnx", "--target", TARGET, *flags, "-o", tmp_path / "out.tar"
    )
    refused(result, tmp_path, "unknown image layout 'NWHC'")


def test_outputs_that_cannot_be_written(tvmc, model, tmp_path):
    refused(tvmc("compile", model, "-o", tmp_path), tmp_path, "it is a folder")
    refused(tvmc("compile", model, "-o", tmp_path / "no" / "a.tar"), tmp_path, "No such file or directory")
    refused(tvmc("compile", model, "-o", model / "a.tar"), tmp_path, "Not a directory")
    refused(tvmc("compile", model, "-o", "/proc/a.tar"), tmp_path, "cannot write '/proc/a.tar'")
    refused(tvmc("compile", model, "-o", model), tmp_path, "it is the input")
    for form in ("c-static", "bundle"):
        folder = tmp_path / "a model.onnx" / "lib"
        refused(tvmc("compile", model, "-f", form, "-o", folder), tmp_path, "Not a directory")
    assert onnx.load(model).graph.name == "g"


@pytest.mark.parametrize("content", [None, b"", b"not protobuf"])
def test_models_that_are_none(tvmc, tmp_path, content):
    path = tmp_path / "a model.onnx"
    if content is not None:
        path.write_bytes(content)
    result = tvmc("compile", path, "--target", TARGET, "-o", tmp_path / "out.tar")
    refused(result, tmp_path, "a model.onnx")


def test_a_folder_as_model(tvmc, tmp_path):
    refused(
        tvmc("compile", tmp_path, "--target", TARGET, "-o", tmp_path / "out.tar"), tmp_path, str(tmp_path)
    )


def test_weights_that_are_not_finite(tvmc, samples, tmp_path):
    path = save_model(tmp_path / "nan.onnx", weight=np.where(WEIGHT > 2, np.nan, WEIGHT))
    flags = ["--target", TARGET, "--quantize", "int8", "--calibration-data", samples]
    result = tvmc("compile", path, *flags, "-o", tmp_path / "out.tar")
    refused(result, tmp_path, "the weights of layer 'first conv' hold NaN or infinity")


def test_dynamic_shapes_without_a_flag(tvmc, tmp_path):
    path = save_model(tmp_path / "dynamic.onnx", batch="N")
    result = tvmc("compile", path, "--target", TARGET, "-o", tmp_path / "out.tar")
    refused(result, tmp_path, "in/x:0", "--input-shapes")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3, 8, 8), np.float32)}, "lacks the model's input 'in/x:0'; it has 'x'"),
        ({"in/x:0": np.zeros((2, 8, 8, 3), np.float32)}, "has the shape [2, 8, 8, 3], expected [N,3,8,8]"),
        ({"in/x:0": np.zeros((2, 3, 8, 8), np.int64)}, "has the dtype int64, expected float32"),
        ({"in/x:0": np.zeros((0, 3, 8, 8), np.float32)}, "is empty"),
        ({"in/x:0": np.full((2, 3, 8, 8), np.nan, np.float32)}, "sample 0 has nan at [0, 0, 0, 0]"),
        ({"in/x:0": np.full((2, 3, 8, 8), -np.inf, np.float32)}, "sample 0 has -inf at [0, 0, 0, 0]"),
    ],
)
def test_bad_calibration_data(tvmc, model, tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    flags = ["--target", TARGET, "--quantize", "int8", "--calibration-data", tmp_path / "bad.npz"]
    refused(tvmc("compile", model, *flags, "-o", tmp_path / "out.tar"), tmp_path, "bad.npz", message)


def test_missing_calibration_data(tvmc, model, tmp_path):
    flags = ["--target", TARGET, "--quantize", "int8", "--calibration-data", tmp_path / "missing.npz"]
    refused(
        tvmc("compile", model, *flags, "-o", tmp_path / "out.tar"), tmp_path, "missing.npz' does not exist"
    )


def test_a_file_of_options(tvmc, model, samples, tmp_path):
    (tmp_path / "q.toml").write_text(
        f"""
        target = "{HERE}"
        [quantization]
        skip_layers = "first*"
        [calibration]
        path = "samples.npz"
        """
    )
    result = tvmc("compile", model, "--config", tmp_path / "q.toml", "-o", tmp_path / "out.tar")
    assert result.code == 0, result.err
    assert "layers: 2 float" in result.out
    result = tvmc(
        "compile", model, "--config", tmp_path / "q.toml", "--skip-layers=relu", "-o", tmp_path / "out.tar"
    )
    assert "layers: 2 int8" in result.out  # the convolution's kernel takes the relu in


def test_an_unknown_key(tvmc, model, tmp_path):
    (tmp_path / "q.toml").write_text("[quantization]\nskip_layer = 'first*'\n")
    result = tvmc("compile", model, "--config", tmp_path / "q.toml", "-o", tmp_path / "out.tar")
    refused(
        result, tmp_path, "line 2: unknown key in [quantization] 'skip_layer'; did you mean 'skip_layers'"
    )


def test_images_that_cannot_be_read(tvmc, model, tmp_path, caplog):
    (tmp_path / "images").mkdir()
    for name in ("a", "c"):
        Image.fromarray((X[0].transpose(1, 2, 0) * 40 + 128).astype(np.uint8)).save(
            tmp_path / "images" / f"{name}.png"
        )
    (tmp_path / "images" / "b.png").write_bytes(b"no picture")
    flags = ["--target", HERE, "--quantize", "int8", "--calibration-data", tmp_path / "images"]
    result = tvmc("compile", model, *flags, "-o", tmp_path / "out.tar")
    assert result.code == 0, result.err
    assert caplog.messages == [
        f"skipped: image {tmp_path}/images/b.png is not in a format that Pillow knows",
        "skipped 1 of 3 images, which cannot be read",
    ]


class TestPrintPasses:
    def test_each_pass_from_import_to_code_is_written(self, tvmc, model, samples, tmp_path):
        folder = tmp_path / "passes"
        arguments = ("--quantize", "int8", "--calibration-data", samples, "--output", tmp_path / "m.tar")
        tvmc("compile", model, "--target", HERE, *arguments, "--print-passes", folder)
        names = [line.split()[-1] for line in (folder / "summary.txt").read_text().splitlines()[1:]]
        order = ["Prepare", "Annotate", "Calibrate", "FoldWeights", "Layout", "Realize", "ScheduleKernels"]
        assert [name for name in names if name in order] == order
        assert len(list(folder.glob("*.diff"))) == len(list(folder.glob("*.py"))) - 1 == len(names)
        number = names.index("Calibrate") + 1
        assert "first_conv_weights_q" in (folder / f"{number:03d}-Calibrate.diff").read_text()

    def test_a_folder_that_is_none(self, tvmc, model, tmp_path):
        (tmp_path / "file").write_text("")
        result = tvmc("compile", model, "--target", HERE, "--print-passes", tmp_path / "file")
        assert result.code == 1 and "cannot write the passes to" in result.err


def save_branching(path):
    """Write ``y = x * 2`` where ``mode`` is 1, else ``-x``, behind a relu named ``head``; ``mode`` int64[]."""
    result = [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    branches = {
        name: helper.make_graph([helper.make_node(op, inputs, ["r"])], name, [], result)
        for name, op, inputs in (("then_branch", "Add", ["h", "h"]), ("else_branch", "Neg", ["h"]))
    }
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["h"], name="head"),
            helper.make_node("Equal", ["mode", "one"], ["c"]),
            helper.make_node("If", ["c"], ["y"], name="which", **branches),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
            helper.make_tensor_value_info("mode", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(1), "one")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("flags", "output", "expected"),
    [
        (["--bind", "mode=1"], "y", [2.0, 0.0, 6.0]),
        (["--bind", "mode=0"], "y", [-1.0, 0.0, -3.0]),
        (["--outputs", "head"], "h", [1.0, 0.0, 3.0]),
    ],
)
def test_inputs_that_are_bound_and_outputs_that_are_cut(tvmc, tmp_path, flags, output, expected):
    model = save_branching(tmp_path / "m.onnx")
    result = tvmc("compile", model, "--target", HERE, "-o", tmp_path / "m.tar", *flags)
    assert result.code == 0, result.err
    np.savez(tmp_path / "in.npz", x=np.array([[1, -2, 3]], np.float32))
    assert (
        tvmc("run", tmp_path / "m.tar", "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "o.npz").code
        == 0
    )
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")[output][0], expected)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "ONNX node 'which' (If) cannot be imported: a branch is chosen by the input 'mode'"),
        (["--bind", "mod=1"], "unknown input 'mod'; did you mean 'mode'?"),
        (["--bind", "mode=0.5"], "input 'mode' cannot be bound to 0.5: it holds int64 values"),
        (["--outputs", "hea"], "unknown output 'hea'; did you mean 'head'"),
        (["--input-dtypes", "mod:int64"], "unknown input 'mod'; did you mean 'mode'?"),
        (
            ["--input-dtypes", "x:float32 mode:int8"],
            "input 'mode' is given the dtype int8; the model fixes int64",
        ),
    ],
)
def test_inputs_and_outputs_that_are_refused(tvmc, tmp_path, flags, message):
    result = tvmc(
        "compile", save_branching(tmp_path / "m.onnx"), "--target", HERE, "-o", tmp_path / "m.tar", *flags
    )
    assert result.code == 1 and result.err.count("\n") == 1
    assert result.err.startswith(f"tvmc: error: {message}")


def test_a_bundle_runs_without_python(tvmc, model, samples, tmp_path):
    flags = ("compile", model, "--quantize=int8", "--calibration-data", samples)
    result = tvmc(*flags, "--output-format=bundle", "-o", tmp_path / "out" / "board")
    assert result.code == 0, result.err
    assert f"{tmp_path}/out/board: " in result.out
    assert tvmc(*flags, "-o", tmp_path / "model.tar").code == 0
    inputs = {"in/x:0": X[:1]}
    (found,) = run_bundle(tmp_path / "out" / "board", inputs).values()
    np.testing.assert_array_equal(found, tvmq.load(tmp_path / "model.tar").run(inputs)["y"])


def test_a_bundle_where_a_file_is(tvmc, model, tmp_path):
    (tmp_path / "taken").write_text("")
    result = tvmc("compile", model, "--output-format=bundle", "-o", tmp_path / "taken")
    assert result.code == 1
    assert f"cannot write '{tmp_path}/taken': File exists" in result.err


@pytest.mark.parametrize(
    ("form", "target", "message"),
    [
        (
            "bundle",
            "arm-linux-gnueabihf -mcpu=cortex-a7",
            "a C library (--output-format c-static) needs none",
        ),
        ("bundle", "aarch64-linux-musl -mcpu=cortex-a72", "comes for Linux with glibc"),
        (
            "c-static",
            "aarch64-linux-musl -mcpu=cortex-a72",
            "C compiler 'aarch64-linux-musl-gcc' is not on the PATH",
        ),
        ("c-static", "arm64-apple-macos -mcpu=apple-m1", "there is no usual compiler for arm64-apple-macos"),
    ],
)
def test_what_cannot_be_made_for_a_target_is_refused_at_once(tvmc, tmp_path, form, target, message):
    flags = ("--target", f"llvm -mtriple={target}", "-f", form, "-o", tmp_path / "out")
    refused(tvmc("compile", tmp_path / "missing.onnx", *flags), tmp_path, message)


def test_a_compiler_of_another_machine_is_refused_at_once(tvmc, tmp_path):
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho riscv64-linux-gnu\n")
    other.chmod(0o755)
    for form in ("so", "bundle", "c-static"):
        flags = ("--target", TARGET, "-f", form, "--cross-compiler", other, "-o", tmp_path / "out")
        message = f"cross compiler '{other}' compiles for riscv64, and the target is x86_64"
        refused(tvmc("compile", tmp_path / "missing.onnx", *flags), tmp_path, message)


def test_a_compiler_that_writes_nothing(tvmc, model, tmp_path):
    flags = ("--target", TARGET, "--cross-compiler", "true", "-o", tmp_path / "out.tar")
    refused(
        tvmc("compile", model, *flags), tmp_path, "true cannot link mod.so: it succeeds and writes no file"
    )


def test_a_package_that_no_runtime_of_tvms_loads(tvmc, model, tmp_path, caplog):
    target = "llvm -mtriple=arm-linux-gnueabihf -mcpu=cortex-a7"
    tvmc("compile", model, "--target", target, "--cross-compiler", "true", "-o", tmp_path / "out.tar")
    assert "TVM's runtime, which loads the package, does not come for arm: " in caplog.text


def test_open_dimensions(tvmc, tmp_path):
    model, package, samples = (tmp_path / name for name in ("model.onnx", "model.tar", "x.npz"))
    onnx.save(perceptron(), model)
    np.savez(samples, x=np.random.default_rng(0).standard_normal((6, 24)).astype(np.float32))
    flags = ["--quantize", "int8", "--calibration-data", samples, "--input-shapes", "N=1..9"]
    done = tvmc("compile", model, "--target", TARGET, *flags, "-o", package)
    assert (done.code, done.err) == (0, ""), done.err
    for rows in (1, 9):
        x = np.ones((rows, 24), np.float32)
        assert {array.shape for array in tvmq.load(package).run(x).values()} == {(rows, 10)}
    done = tvmc(
        "compile", model, "--output-format", "c-static", "--input-shapes", "N=1..9", "-o", tmp_path / "c"
    )
    assert "open dimensions ('N') are not supported for a C library yet: give them one size" in done.err
