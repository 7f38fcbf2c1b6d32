"""Flags of quantization --> options; the file of ``--config`` behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmq.config.config import Config
from tvmq.config.table import OPTIONS
from tvmq.errors import TvmqError
from tvmq.frontends.samples.files import CalibrationFiles
from tvmq.frontends.samples.images import ImageOptions
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.schedules.options import CompileOptions
from tvmq.tvmc.main import make_parser
from tvmq.tvmc.progress import progress
from tvmq.tvmc.quantize_flags import config_of


def configured(*flags: object) -> Config:
    return config_of(make_parser().parse_args(["compile", "a.onnx", *map(str, flags)]))


def test_no_flags_are_the_defaults():
    assert configured() == Config(None, None, QuantizeOptions(), None)


def test_flags_reach_their_options():
    config = configured(
        "--quantize=w4a8",
        "--observer=mse",
        "--per-tensor",
        "--weight-bits=6",
        "--layer-bits=first conv=8,*/head=4/8",
        "--layer-bits=*=3",
        "--skip-layers=first conv,*/attention/*",
        "--skip-layers=last",
        "--no-bias-correction",
        "--no-quantize-first",
        "--min-weight-size=100",
    )
    assert config.scheme == "w4a8"
    assert config.options == QuantizeOptions(
        observer="mse",
        per_channel=False,
        weight_bits=6,
        bits={"first conv": 8, "*/head": (4, 8), "*": 3},
        skip_layers=("first conv", "*/attention/*", "last"),
        bias_correction="none",
        quantize_first=False,
        min_weight_size=100,
    )


def test_image_flags_reach_their_options():
    config = configured(
        "--quantize=int8",
        "--calibration-data=images",
        "--calibration-samples=20",
        "--calibration-type=images",
        "--image-size=256",
        "--image-resize=cubic",
        "--no-image-center-crop",
        "--image-views",
        "2",
        "--image-scale=1",
        "--image-mean=123.675,116.28,103.53",
        "--image-std=58.4",
        "--image-layout=nhwc",
        "--image-color=BGR",
    )
    images = ImageOptions(
        size=(256,),
        resize="cubic",
        center_crop=False,
        views=2,
        scale=1.0,
        mean=(123.675, 116.28, 103.53),
        std=(58.4,),
        layout="NHWC",
        color="bgr",
    )
    assert config.calibration == CalibrationFiles(Path("images"), images, 20, "images")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--weight-bits=17", "'17' must be a whole number from 0 to 16"),
        ("--weight-bits=four", "'four' must be a whole number from 0 to 16"),
        ("--layer-bits=conv1", "'conv1' must be bits by layer, such as conv1=4 or conv1=4/8"),
        ("--layer-bits=conv1=4/8/8", "must be bits by layer"),
        ("--image-mean=0.5,a", "'0.5,a' must be a number or numbers"),
        ("--image-scale=nan", "'nan' must be a number"),
        ("--image-size=big", "'big' must be a number of pixels or HEIGHT,WIDTH"),
        ("--calibration-samples=0", "'0' must be a whole number of at least 1"),
        ("--calibration-type=image", "'image' must be arrays or images"),
    ],
)
def test_bad_values(capsys, flag, message):
    with pytest.raises(SystemExit):
        configured(flag)
    assert message in capsys.readouterr().err


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "q.toml"
    file.write_text(
        """
        target = "llvm -mcpu=znver3"
        [quantization]
        observer = "mse"
        quantize_first = false
        skip_layers = ["a", "b"]
        """
    )
    config = configured("--config", file, "--observer=minmax", "--quantize-first", "--skip-layers=c")
    assert config.scheme == "int8"
    assert config.target == "llvm -mcpu=znver3"
    assert config.options == QuantizeOptions(observer="minmax", skip_layers=("c",))
    assert configured("--config", file, "--target=llvm").target == "llvm"


def test_the_last_of_two_flags_counts():
    assert configured("--quantize=int8", "--per-tensor", "--per-channel").options.per_channel is True
    assert configured("--quantize=int8", "--observer=mse", "--observer=minmax").options.observer == "minmax"
    both = "--no-bias-correction", "--bias-correction=sequential"
    assert configured("--quantize=int8", *both).options.bias_correction == "sequential"
    assert configured("--quantize=int8", *reversed(both)).options.bias_correction == "none"


@pytest.mark.parametrize("command", ["compile", "tune"])
def test_every_option_has_its_flags(command):
    (subparsers,) = (
        action for action in make_parser()._actions if action.choices and "compile" in action.choices
    )
    flags = {flag for action in subparsers.choices[command]._actions for flag in action.option_strings}
    assert {option.flag for option in OPTIONS} | {option.off for option in OPTIONS if option.off} <= flags


def test_options_take_sequences_of_names():
    assert QuantizeOptions(skip_layers=["a"]).skip_layers == ("a",)
    with pytest.raises(TvmqError, match="skip_ops must be a sequence of names, not the string 'Conv'"):
        QuantizeOptions(skip_ops="Conv")
    with pytest.raises(TvmqError, match="skip_ops must hold non-empty names"):
        QuantizeOptions(skip_ops=[""])
    with pytest.raises(TvmqError, match="cross_compiler_options must be a sequence of arguments"):
        CompileOptions(cross_compiler_options="-O2")


def test_progress_is_silent_away_from_a_terminal(capfd):
    with progress("calibrate", 3) as bar:
        bar.update(1)
        bar.update()
    assert capfd.readouterr() == ("", "")
