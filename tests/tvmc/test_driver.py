"""The old ``tvmc`` in Python, as its tutorial uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq import tvmc
from tvmq.errors import TvmqError
from tvmq.schedules.records import RECORDS

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
IMAGE = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)


@pytest.fixture(scope="module")
def model():
    return tvmc.load(DIGITS / "digits.onnx", shape_dict={"image": [1, 1, 8, 8]})


@pytest.fixture(scope="module")
def package(model):
    return tvmc.compile(model, target="llvm")


def test_functions_are_there_beside_the_command_line(tvmc):
    """The subcommands' modules must not take their names."""
    import tvmq.tvmc

    tvmc("--version")
    for name in ("load", "compile", "run", "tune", "TVMCModel", "TVMCPackage", "TVMCResult", "TVMCException"):
        assert callable(getattr(tvmq.tvmc, name))
        assert name in dir(tvmq.tvmc)
    assert tvmq.tvmc.TVMCException is TvmqError
    with pytest.raises(AttributeError, match="has no attribute 'loud'"):
        _ = tvmq.tvmc.loud


@pytest.mark.parametrize(
    ("code", "slow"),
    [
        ("from tvmq import tvmc", {"tvm", "onnx", "numpy"}),
        ("from tvmq import tvmc; tvmc.TVMCPackage({path!r})", {"tvm", "onnx"}),
        ("from tvmq import tvmc; tvmc.run(tvmc.TVMCPackage({path!r}))", {"tvm", "onnx"}),
    ],
)
def test_only_what_runs_is_loaded(code, slow, digits_path):
    code = f"import sys; {code.format(path=str(digits_path))}; print({slow} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


def test_load_compile_run(package, caplog):
    result = tvmc.run(package, device="cpu", inputs={"image": IMAGE})
    expected = tvmq.load(package.package_path).run({"image": IMAGE})["scores"]
    assert list(result.outputs) == ["output_0"]
    np.testing.assert_array_equal(result.get_output("output_0"), expected)
    np.testing.assert_array_equal(result.get_output("scores"), expected)
    assert len(result.times.results) == 1
    assert str(result).endswith("Output Names:\n ['output_0']")
    assert caplog.messages == []


def test_times_and_inputs_that_are_filled(package, capsys):
    result = tvmc.run(package, benchmark=True, repeat=3, number=2, profile=True, fill_mode="ones")
    assert len(result.times.results) == 3
    assert "Time by layer" in capsys.readouterr().out
    ones = tvmc.run(package, inputs={"image": np.ones_like(IMAGE)}).get_output("scores")
    np.testing.assert_array_equal(result.get_output("scores"), ones)
    assert len(tvmc.run(package, benchmark=True, repeat=2, number=1, end_to_end=True).times.results) == 2


def test_on_a_device(package, tracker):
    host, port = tracker
    result = tvmc.run(package, "cpu", host, str(port), "board", {"image": IMAGE}, benchmark=True, repeat=2)
    expected = tvmc.run(package, inputs={"image": IMAGE})
    np.testing.assert_array_equal(result.get_output("scores"), expected.get_output("scores"))
    assert len(result.times.results) == 2


def test_tuned_on_a_device(model, tracker, tmp_path):
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    host, port = tracker
    quick = {"trials": 1, "number": 1, "repeat": 1, "min_repeat_ms": 1, "tasks_filter": "0", "timeout": 60}
    records = tvmc.tune(
        model, "llvm", tmp_path / "records", hostname=host, port=str(port), rpc_key="board", **quick
    )
    (line,) = Path(records, RECORDS).read_text().splitlines()
    assert json.loads(line)[1][1][0] < 1  # seconds: it ran


def test_records_that_are_not_there(model, tmp_path, caplog):
    tvmc.compile(model, "llvm", tuning_records="no.log", package_path=tmp_path / "a.tar")
    assert caplog.messages == ["there are no tuning records 'no.log' yet: they are passed over"]


def test_saved_where_told_with_code_beside(model, tmp_path):
    path = tmp_path / "whatever"
    tvmc.compile(model, target="llvm", package_path=str(path), dump_code=["asm"], opt_level=2)
    assert {file.name for file in tmp_path.iterdir()} == {"whatever", "whatever.asm"}
    assert tvmc.run(tvmc.TVMCPackage(package_path=str(path)), device="cpu").get_output("scores").shape == (
        1,
        10,
    )


def test_what_has_nothing_to_act_on(model, tmp_path, caplog):
    tvmc.compile(
        model,
        target="mrvl, llvm",
        executor="graph",
        runtime="cpp",
        desired_layout=["NCHW"],
        mod_name="net",
        pass_context_configs=["tir.disable_vectorize=0", "relay.backend.use_auto_scheduler=0"],
        additional_target_options={"llvm": {"num-cores": 1}, "mrvl": {"num_tiles": 4}},
        disabled_pass="AlterOpLayout",
        package_path=tmp_path / "a.tar",
    )
    assert caplog.messages == [
        "mod_name: a package is told from others by its file",
        "desired_layout: kernels compute in NHWC; the model's inputs and outputs keep their layout",
        "executor: the virtual machine runs it",
        "relay.backend.use_auto_scheduler: an option that no pass of TVM 0.27 reads",
        "AlterOpLayout: a pass of Relay, which TVM 0.27 lacks",
        "mrvl: nothing is offloaded, llvm's kernels run all of it",
    ]
    assert tvmc.TVMCPackage(tmp_path / "a.tar").metadata["target"]["num-cores"] == 1


def test_passes_are_watched(model, tmp_path, capsys):
    from tvm.ir.instrument import pass_instrument

    @pass_instrument
    class Count:
        passes = 0

        def run_before_pass(self, mod, info):
            self.passes += 1

    count = Count()
    tvmc.compile(
        model,
        target="llvm",
        package_path=tmp_path / "a.tar",
        print_pass_times=True,
        print_ir_after=["FuseOps"],
        instruments=[count],
    )
    out = capsys.readouterr().out
    assert "Print IR after: FuseOps" in out and "Compilation time breakdown by pass:" in out
    assert count.passes > 50


def test_tune_then_compile(model, tmp_path, caplog, capsys):
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    assert tvmc.tune(model, target="llvm", tasks_filter="list") is None
    assert "depthwise" in capsys.readouterr().out
    quick = {"trials": 2, "number": 1, "repeat": 1, "min_repeat_ms": 1, "tasks_filter": "0"}
    records = tvmc.tune(model, target="llvm", enable_autoscheduler=True, hardware_params=object(), **quick)
    assert records == model.default_tuning_records_path()
    assert caplog.messages == [
        "enable_autoscheduler: there is one search, for all kernels; it needs no templates",
        "hardware_params: --target says what the hardware has, as its mcpu and num-cores",
    ]
    again = tvmc.tune(model, "llvm", str(tmp_path / "hello.json"), prior_records=records, **quick)
    assert again == str(tmp_path / "hello.json")
    # What was measured before is not measured again.
    old, new = (Path(folder, RECORDS).read_text().splitlines() for folder in (records, again))
    assert len(old) == len(new) == 2 and not set(old) & set(new)
    tuned = tvmc.compile(model, "llvm", tuning_records=records, package_path=tmp_path / "tuned.tar")
    untuned = tvmc.compile(model, "llvm", package_path=tmp_path / "untuned.tar")
    outputs = [
        tvmc.run(package, inputs={"image": IMAGE}).get_output("scores") for package in (tuned, untuned)
    ]
    # Sums of at most 576 products, in any order: far below this.
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-4)


def test_the_documentation_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    text = (DIGITS.parents[1] / "docs" / "old-tvmc.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0].replace("trials=1000", "trials=1")
    monkeypatch.chdir(tmp_path)
    shutil.copy(DIGITS / "digits.onnx", "my_model.onnx")
    names = {"image": IMAGE}
    exec(code, names)
    np.testing.assert_array_equal(names["scores"], tvmq.load("model.tar").run({"image": IMAGE})["scores"])
    assert "Execution time summary:" in capsys.readouterr().out


def test_a_quantized_model(tmp_path):
    quantized = tvmq.quantize(DIGITS / "digits.onnx", calibration=[{"image": IMAGE}])
    package = tvmc.compile(tvmc.TVMCModel(quantized.mod), "llvm", package_path=tmp_path / "q.tar")
    assert package.metadata["scheme"] == "int8"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, p: tvmc.load("a.onnx", "keras"), "^model_format: models are read in ONNX and TFLite form"),
        (lambda m, p: tvmc.load("a.tflite"), "TFLite file 'a.tflite' does not exist"),
        (lambda m, p: tvmc.load("no.onnx"), "'no.onnx' does not exist"),
        (lambda m, p: tvmc.compile("a.onnx", "llvm"), "needs what tvmc.load returned"),
        (lambda m, p: tvmc.compile(m, "vulkan"), "target kind 'vulkan' is not supported yet"),
        (
            lambda m, p: tvmc.compile(m, "llvm", output_format="mlf"),
            "^output_format: TVM 0.27 has no microTVM",
        ),
        (
            lambda m, p: tvmc.compile(m, "llvm", output_format="c-static"),
            "tvmc.compile makes a package; for output_format 'c-static' there is tvmq.compile_c_library",
        ),
        (lambda m, p: tvmc.compile(m, "llvm", runtime="crt"), "^runtime: TVM 0.27 has no microTVM"),
        (lambda m, p: tvmc.compile(m, "llvm", cross="no-gcc"), "cross compiler 'no-gcc' is not on the PATH"),
        (
            lambda m, p: tvmc.compile(m, "llvm", pass_context_configs=["a"]),
            "pass_context_configs: 'a' must look",
        ),
        (
            lambda m, p: tvmc.compile(m, "llvm", additional_target_options={"cuda": {"arch": "sm_70"}}),
            "--target-cuda-arch has no effect without cuda",
        ),
        (lambda m, p: tvmc.compile(m, "llvm", package_path="/proc/a"), "cannot write '/proc/a'"),
        (lambda m, p: tvmc.run(m), "needs what tvmc.compile returned"),
        (lambda m, p: tvmc.run(p, device="cuda"), "the package is for a CPU: compile it with --target cuda"),
        (lambda m, p: tvmc.run(p, device="micro"), "device 'micro': TVM 0.27 has no microTVM"),
        (lambda m, p: tvmc.run(p, fill_mode="twos"), "unknown fill mode 'twos'"),
        (
            lambda m, p: tvmc.run(p, inputs={"imag": IMAGE}),
            "unknown input in inputs 'imag'; did you mean 'image'",
        ),
        (lambda m, p: tvmc.run(p, hostname="localhost", profile=True), "cannot go with a hostname"),
        (lambda m, p: tvmc.tune("a.onnx", "llvm"), "needs what tvmc.load returned"),
        (lambda m, p: tvmc.tune(m, "llvm", rpc_key="board"), "hostname and rpc_key belong together"),
    ],
)
def test_refusals(model, package, call, message):
    with pytest.raises(TvmqError, match=message):
        call(model, package)
