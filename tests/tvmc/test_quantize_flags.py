"""Flags of quantization --> options."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.images import ImageOptions
from tvmq.passes.options import QuantizeOptions
from tvmq.schedules.options import CompileOptions
from tvmq.tvmc.main import make_parser
from tvmq.tvmc.progress import progress
from tvmq.tvmc.quantize_flags import image_options, quantize_options


def parse(*flags: str):
    return make_parser().parse_args(["compile", "a.onnx", *flags])


def test_no_flags_are_the_defaults():
    assert quantize_options(parse()) == QuantizeOptions()
    assert image_options(parse()) is None


def test_every_flag_reaches_its_option():
    args = parse(
        "--observer=mse",
        "--weight-observer=minmax",
        "--per-tensor",
        "--activations=symmetric",
        "--skip-layers=first conv,*/attention/*",
        "--skip-layers=last",
        "--skip-ops=Softmax",
        "--quantize-only=a,b",
        "--no-bias-correction",
        "--no-pair-safe-weights",
        "--no-quantize-first",
        "--no-quantize-last",
    )
    assert quantize_options(args) == QuantizeOptions(
        observer="mse",
        weight_observer="minmax",
        per_channel=False,
        activations="symmetric",
        skip_layers=("first conv", "*/attention/*", "last"),
        skip_ops=("Softmax",),
        quantize_only=("a", "b"),
        correct_bias=False,
        pair_safe_weights=False,
        quantize_first=False,
        quantize_last=False,
    )


def test_image_flags_reach_their_options():
    args = parse(
        "--image-size=256",
        "--image-scale=1",
        "--image-mean=123.675,116.28,103.53",
        "--image-std=58.4",
        "--image-layout=nhwc",
        "--image-color=BGR",
    )
    assert image_options(args) == ImageOptions(
        size=(256,), scale=1.0, mean=(123.675, 116.28, 103.53), std=(58.4,), layout="NHWC", color="bgr"
    )


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
