"""Command lines of TVM's own tutorials and documentation, 0.8 to 0.19, on a small network.

Each is as it was printed there but for the names of the model, its input and its shape; ``QUICK`` shortens tuning.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.targets import host
from tvmq.targets.features import arch_of, features_of
from tvmq.targets.parse import parse_target

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
QUICK = "--trials 2 --min-repeat-ms 1 --tasks 0"

TUTORIAL = [  # gallery/tutorial/tvmc_command_line_driver.py
    r"""tvmc compile \
        --target "llvm" \
        --input-shapes "image:[1,1,8,8]" \
        --output resnet50-v2-7-tvm.tar \
        resnet50-v2-7.onnx""",
    r"""tvmc run \
        --inputs imagenet_cat.npz \
        --output predictions.npz \
        resnet50-v2-7-tvm.tar""",
    rf"""tvmc tune \
        --target "llvm" \
        --output resnet50-v2-7-autotuner_records.json {QUICK} \
        resnet50-v2-7.onnx""",
    r"""tvmc compile \
        --target "llvm" \
        --tuning-records resnet50-v2-7-autotuner_records.json  \
        --output resnet50-v2-7-tvm_autotuned.tar \
        resnet50-v2-7.onnx""",
    r"""tvmc run \
        --inputs imagenet_cat.npz \
        --output tuned_predictions.npz \
        resnet50-v2-7-tvm_autotuned.tar""",
    r"""tvmc run \
        --inputs imagenet_cat.npz \
        --output predictions.npz  \
        --print-time \
        --repeat 100 \
        resnet50-v2-7-tvm_autotuned.tar""",
    r"""tvmc run \
        --inputs imagenet_cat.npz \
        --output predictions.npz  \
        --print-time \
        --repeat 100 \
        resnet50-v2-7-tvm.tar""",
]

RUN = {
    # the tutorial's text
    "tvmc --help": [],
    "tvmc compile --help": [],
    "tvmc run --help": [],
    "tvmc tune --help": [],
    "tvmc tune --target llvm --task list resnet50-v2-7.onnx": [],
    # docs/how_to/deploy/mrvl.rst
    'tvmc compile --target="mrvl, llvm" --target-mrvl-num_tiles=4 --output model.tar model.onnx': [
        "mrvl: nothing is offloaded, llvm's kernels run all of it"
    ],
    "tvmc run --inputs infer.npz --outputs predict.npz model.tar --number=0": [],
    "tvmc run --inputs infer.npz --outputs predict.npz model.tar": [],
    # help of compile
    "tvmc compile --target llvm --dump-code asm,ll,tir,relay -f so model.onnx": [
        "relay: Relax takes its place, as relax"
    ],
    "tvmc compile --target llvm --desired-layout-ops nn.conv2d nn.avg_pool2d --desired-layout NCHW NHWC model.onnx": [
        "--desired-layout NCHW NHWC, --desired-layout-ops nn.conv2d nn.avg_pool2d: kernels compute "
        "in NHWC; the model's inputs and outputs keep their layout"
    ],
    "tvmc compile --target llvm --pass-config relay.backend.use_auto_scheduler=0 model.onnx": [
        "relay.backend.use_auto_scheduler: an option that no pass of TVM 0.27 reads"
    ],
    "tvmc compile --target llvm --print-ir-before [tir.SplitHostDevice,tir.ConvertSSA] --dump-offloads - model.onnx": [
        "--dump-offloads -: nothing is offloaded: tvmc inspect says what runs as what"
    ],
    "tvmc compile --target llvm --workspace-pools=flash --workspace-pools-targets=flash:llvm "
    "--workspace-pools-size-hint-bytes=flash:8 model.onnx": [
        "--workspace-pools flash, --workspace-pools-targets flash:llvm, --workspace-pools-size-hint-bytes flash:8: "
        "memory between kernels is planned ahead, in one pool"
    ],
    # microTVM's, on llvm
    "tvmc compile model.onnx --target='llvm -keys=cpu -model=host' --runtime=cpp --executor='aot' --output model.tar "
    "--pass-config tir.disable_vectorize=0": ["--executor aot: the virtual machine runs it"],
}

REFUSED = {
    # gallery/how_to/work_with_microtvm/micro_tvmc.sh
    "tvmc compile model.onnx --target='c -keys=cpu -model=host' --runtime=crt --runtime-crt-system-lib 1 "
    "--executor='aot' --output model.tar --output-format mlf --pass-config tir.disable_vectorize=1": (
        "--output-format mlf: TVM 0.27 has no microTVM"
    ),
    "tvmc micro create project model.tar zephyr --project-option project_type=host_driven board=qemu_x86": (
        "tvmc micro: TVM 0.27 has no microTVM"
    ),
    "tvmc run --device micro project --fill-mode ones --print-top 4": "'micro': TVM 0.27 has no microTVM",
    # docs/how_to/deploy/adreno.rst
    'tvmc compile --target="opencl, llvm" --target-llvm-mtriple aarch64-linux-gnu --target-opencl-device adreno '
    "--tuning-records keras-resnet50.log -o keras-resnet50.tar resnet50.h5": "target kind 'opencl' is not supported",
    "tvmc compile --target llvm -o keras-resnet50.tar resnet50.h5": "'resnet50.h5' is a Keras model by its suffix",
    'tvmc run --device="cl" keras-resnet50.tar --rpc-key android --rpc-tracker 127.0.0.1:9190 --print-time': (
        "'cl' is not supported"
    ),
    # apps/microtvm/ethosu/run_demo.sh
    "tvmc compile --target=ethos-u,cmsis-nn,c --target-ethos-u-accelerator_config=ethos-u55-256 "
    "--target-cmsis-nn-mcpu=cortex-m55 --target-c-mcpu=cortex-m55 --runtime=cpp model.onnx": (
        "target kind 'c' is not supported"
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch, digits_path):
    """The working folder, with the files that the lines name."""
    for name in ("resnet50-v2-7.onnx", "model.onnx", "mnist-12.onnx"):
        shutil.copy(DIGITS / "digits.onnx", tmp_path / name)
    for name in ("imagenet_cat.npz", "infer.npz"):
        shutil.copy(DIGITS / "sample.npz", tmp_path / name)
    for name in ("model.tar", "keras-resnet50.tar"):
        shutil.copy(digits_path, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(tvmc):
    """Run a line as a shell splits it."""
    return lambda line: tvmc(*shlex.split(line.replace("\\\n", " "))[1:])


def test_the_tutorial(folder, shell, caplog):
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    for line in TUTORIAL:
        result = shell(line)
        assert result.code == 0, (line, result.err)
        if "--print-time" in line:
            assert all(name in result.out for name in ("mean (ms)", "median (ms)", "max (ms)", "std (ms)"))
    assert caplog.messages == []
    # As the tutorial's postprocess.py reads them.
    scores = np.load("predictions.npz")["output_0"]
    image = dict(np.load("imagenet_cat.npz"))
    np.testing.assert_array_equal(scores, tvmq.load("model.tar").run(image)["scores"])
    # Another schedule sums in another order.
    np.testing.assert_allclose(np.load("tuned_predictions.npz")["output_0"], scores, rtol=1e-4, atol=1e-4)


def test_tuning_for_a_named_cpu(folder, shell):
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    _skip_unless_this_machine_is("llvm -mcpu=broadwell")
    line = 'tvmc tune   --target "llvm -mcpu=broadwell"   --output resnet50-v2-7-autotuner_records.json'
    result = shell(f"{line}   {QUICK}   resnet50-v2-7.onnx")
    assert result.code == 0, result.err


@pytest.mark.skipif(host.architecture() != "x86_64", reason="needs a linker for x86_64")
def test_without_quotes(folder, shell):
    result = shell("tvmc compile --target llvm -mcpu=skylake resnet50-v2-7.onnx")
    assert result.code == 0, result.err
    assert "for llvm -mcpu=skylake" in result.out


@pytest.mark.parametrize("line", RUN)
def test_a_line_runs(folder, shell, caplog, line):
    result = shell(line)
    assert result.code == 0, result.err
    assert caplog.messages == RUN[line]


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_is_refused(folder, shell, line):
    result = shell(line)
    assert result.code in (1, 2)
    assert REFUSED[line] in result.err and "Traceback" not in result.err
    assert "(not an error of the input" not in result.err


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="needs aarch64-linux-gnu-gcc")
def test_another_machine(folder, shell):
    """docs/how_to/deploy/mrvl.rst"""
    result = shell(
        r"""tvmc compile --target="mrvl, llvm" \
        --target-llvm-mtriple=aarch64-linux-gnu --target-llvm-mcpu=neoverse-n2 \
        --target-mrvl-num_tiles=4 \
        --target-mrvl-mattr="hw -quantize=fp16 -wb_pin_ocm=1" \
        --cross-compiler aarch64-linux-gnu-gcc \
        --output model.tar \
        mnist-12.onnx"""
    )
    assert result.code == 0, result.err
    assert "-mcpu=neoverse-n2" in result.out


def test_a_device(folder, shell, tracker, caplog):
    """apps/cpp_rtvm/README.md, for the CPU: tuned, compiled and run on the device of a tracker."""
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    address = f"{tracker[0]}:{tracker[1]}"
    result = shell(
        rf"""tvmc tune --desired-layout NCHW --target="llvm" --target-host="llvm -mtriple=x86_64-linux-gnu" \
        ./resnet50-v2-7.onnx -o ./keras-resnet50.log --early-stopping 0 --repeat 30 \
        --rpc-key board --rpc-tracker {address} {QUICK} --timeout 60 \
        --tuning-records ./keras-resnet50-records.log --tuner xgb"""
    )
    assert result.code == 0, result.err
    assert caplog.messages == [
        "--desired-layout NCHW: kernels compute in NHWC; the model's inputs and outputs keep their layout",
        "--target-host llvm -mtriple=x86_64-linux-gnu: the code around the kernels is for the same machine as they "
        "are; a GPU's host stands in --target",
        "there are no tuning records 'keras-resnet50-records.log' yet: they are passed over",
    ]
    result = shell(f"tvmc run keras-resnet50.tar --rpc-key board --rpc-tracker {address} --print-time")
    assert result.code == 0, result.err
    assert "Execution time" in result.out


def _skip_unless_this_machine_is(text):
    try:
        target = parse_target(text)
    except TvmqError as error:
        pytest.skip(str(error))
    missing = host.missing_features(arch_of(target), features_of(target))
    if missing:
        pytest.skip(f"this CPU lacks {', '.join(missing)}")
