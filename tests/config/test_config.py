"""A configuration file --> options, and what is said of a wrong one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tvmq
from tvmq.config.config import DEFAULT_SCHEME, read_config, read_values
from tvmq.config.table import (
    CALIBRATION,
    FINE_TUNE,
    FINE_TUNES,
    IMAGE,
    OPTIONS,
    QUANTIZATION,
    SCHEME,
    SEARCH,
    SECTIONS,
)
from tvmq.errors import TvmqError
from tvmq.frontends.samples.files import CalibrationFiles
from tvmq.frontends.samples.images import ImageOptions
from tvmq.frontends.samples.labelled import LabelledFiles
from tvmq.passes.annotate.learning import FineTuneOptions
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.search.options import SearchOptions

ELSEWHERE = {"hardware", "calibration_cache", "parameters", "metric", "max_drop", "fine_tune"}
"""Fields of the options whose rows are in other sections, and two that are for Python alone."""
DIGITS = Path(__file__).parents[2] / "examples" / "digits"
WHOLE = """
target = "llvm -mcpu=znver3"
hardware = "npu.toml"

[quantization]
scheme = "w4a8"
weight_bits = 0
mixed_start_scale = 0.05
mixed_auto_tune = true
activation_bits = 8
depthwise_bits = 6
observer = "mse"
weight_observer = "minmax"
power_of_two = true
rounding = "nearest"
per_channel = false
activations = "symmetric"
min_weight_size = 1000
min_weight_channels = 16
skip_layers = "first conv"
skip_ops = ["Softmax", "Gelu"]
quantize_only = ["a", "b"]
bias_correction = "analytic"
equalize = true
absorb_bias = true
equalize_activations = 0.25
smooth = 0.4
float_below = 12.5
activation_scales = "static"
group_size = 32
codebook = true
pair_safe_weights = false
allow_wider = true
quantize_first = false
quantize_last = false

[quantization.bits]
"*/conv" = 4
head = [4, 8]

[calibration]
path = "data/images.txt"
samples = 100
cache = "scales.json"
type = "images"

[search]
bit_budget = "3.5bits"
candidates = [2, 4, 8]
samples = 16
trials = 10
state = "search.json"
output = "found.toml"

[fine_tune]
on = true
steps = 200
budget = "20min"
batch = 16
rate = 0.002
optimizer = "sgd"
decay = 0.01
learns = ["scales", "biases"]
weight_form = "low-rank"
rank = 4
activation_gradient = "pact"
sign_gradient = "bi-real"
features = 0.5
drop = 0.3
progressive = [8, 6]
freeze = 0.02
stochastic = true
augment = "crop"
batch_norm = "moving"
held_out = 0.2
seed = 3
labels = "learned.txt"
checkpoint = "state.npz"
checkpoint_every = "90s"

[accuracy]
data = "labels.txt"
max_drop = 1
output = "scores"

[image]
size = 256
resize = "cubic"
center_crop = true
views = 3
scale = 1
mean = [123.675, 116.28, 103.53]
std = 58.4
layout = "nchw"
color = "BGR"
"""
OTHER_BUDGETS = """
latency_budget = "2ms"
min_cosine = 0.99
"""
"""Of budgets there may be one."""
HARDWARE = """
name = "npu"
operators = ["Conv"]
weight_bits = [6, 8]
activation_bits = 8
weight_granularity = "tensor"
activations = "symmetric"
"""


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def save(text: str, name: str = "q.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return save


def test_every_key_reaches_its_option(write, tmp_path):
    write(HARDWARE, "npu.toml")
    config = read_config(write(WHOLE))
    images = ImageOptions(
        size=(256,),
        resize="cubic",
        views=3,
        scale=1.0,
        mean=(123.675, 116.28, 103.53),
        std=(58.4,),
        layout="NCHW",
        color="bgr",
    )
    assert (config.scheme, config.target) == ("w4a8", "llvm -mcpu=znver3")
    assert config.options.hardware.name == "npu"
    assert dataclasses.replace(config.options, hardware=None) == QuantizeOptions(
        weight_bits=0,
        mixed_start_scale=0.05,
        mixed_auto_tune=True,
        activation_bits=8,
        depthwise_bits=6,
        bits={"*/conv": 4, "head": (4, 8)},
        observer="mse",
        weight_observer="minmax",
        calibration_cache=tmp_path / "scales.json",
        power_of_two=True,
        rounding="nearest",
        per_channel=False,
        activations="symmetric",
        min_weight_size=1000,
        min_weight_channels=16,
        skip_layers=("first conv",),
        skip_ops=("Softmax", "Gelu"),
        quantize_only=("a", "b"),
        bias_correction="analytic",
        equalize=True,
        absorb_bias=True,
        equalize_activations=0.25,
        smooth=0.4,
        float_below=12.5,
        activation_scales="static",
        group_size=32,
        codebook=True,
        pair_safe_weights=False,
        allow_wider=True,
        quantize_first=False,
        quantize_last=False,
        fine_tune=FineTuneOptions(
            steps=200,
            budget=1200.0,
            batch=16,
            rate=0.002,
            optimizer="sgd",
            decay=0.01,
            learns=("scales", "biases"),
            weight_form="low-rank",
            rank=4,
            activation_gradient="pact",
            sign_gradient="bi-real",
            features=0.5,
            drop=0.3,
            progressive=(8, 6),
            freeze=0.02,
            stochastic=True,
            augment=("crop",),
            batch_norm="moving",
            held_out=0.2,
            seed=3,
            labels=LabelledFiles(tmp_path / "learned.txt", images),
            checkpoint=tmp_path / "state.npz",
            checkpoint_every=90.0,
        ),
    )
    assert config.calibration == CalibrationFiles(tmp_path / "data/images.txt", images, 100, "images")
    assert config.search == SearchOptions(
        bit_budget="3.5bits",
        candidates=(2, 4, 8),
        samples=16,
        trials=10,
        state=tmp_path / "search.json",
        output=tmp_path / "found.toml",
    )
    assert config.arguments()["search"] is config.search
    assert (config.accuracy, config.max_drop) == (LabelledFiles(tmp_path / "labels.txt", images), 1.0)
    assert config.accuracy_output == "scores"


def test_the_sample_has_every_key(write):
    """So that a new row of the table is tried above."""
    write(HARDWARE, "npu.toml")
    whole = WHOLE.replace("[search]\n", "[search]" + OTHER_BUDGETS)
    said = {option.name for option in read_values(write(whole))}
    assert said == {option.name for option in OPTIONS}


@pytest.mark.parametrize(
    ("section", "options"),
    [
        (QUANTIZATION, QuantizeOptions),
        (SEARCH, SearchOptions),
        (FINE_TUNE, FineTuneOptions),
        (IMAGE, ImageOptions),
    ],
)
def test_the_table_has_every_field(section, options):
    fields = {field.name for field in dataclasses.fields(options)} - ELSEWHERE
    assert {row.key for row in OPTIONS if row.section == section} - {SCHEME.key, FINE_TUNES.key} == fields


def test_no_two_rows_share_a_name():
    flags = [flag for row in OPTIONS for flag in (row.flag, row.off) if flag]
    assert len(flags) == len(set(flags))
    assert len({row.name for row in OPTIONS}) == len(OPTIONS)
    assert {row.section for row in OPTIONS} == set(SECTIONS)


def test_a_section_of_quantization_quantizes(write):
    assert read_config(write("")).scheme is None
    assert read_config(write("target = 'llvm'")).scheme is None
    assert read_config(write("[quantization]")).scheme == DEFAULT_SCHEME
    assert read_config(write("quantization.observer = 'mse'")).scheme == DEFAULT_SCHEME


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[quantization]\n\nobservr = 'mse'",
            "q.toml, line 3: unknown key in [quantization] 'observr'; did you mean 'observer'",
        ),
        ("targt = 'llvm'", "q.toml, line 1: unknown key 'targt'; did you mean 'target'?"),
        (
            "[quantisation]\nx = 1",
            "q.toml, line 1: unknown section 'quantisation'; did you mean 'quantization'",
        ),
        ("[image]\nobserver = 'mse'", "q.toml, line 2: 'observer' belongs in [quantization]"),
        ("image.meen = 1", "q.toml, line 1: unknown key in [image] 'meen'; did you mean 'mean'?"),
        ("[quantization]\ntarget = 'llvm'", "q.toml, line 2: 'target' belongs in the top of the file"),
        ("image = 3", "q.toml, line 1: 'image' is a section, [image], not a value"),
        (
            "[quantization]\nweight_bits = '8'",
            "q.toml, line 2: 'weight_bits' is '8', expected a whole number from 0 to 16",
        ),
        (
            "[quantization]\nweight_bits = true",
            "'weight_bits' is true, expected a whole number from 0 to 16",
        ),
        ("[quantization]\nweight_bits = 17", "'weight_bits' is 17, expected a whole number from 0 to 16"),
        ("[quantization]\nsmooth = 1.5", "line 2: 'smooth' is 1.5, expected a number from 0 to 1"),
        (
            "[quantization]\nbias_correction = false",
            "'bias_correction' is false, expected none or empirical or sequential or analytic",
        ),
        ("[quantization]\nper_channel = 1", "line 2: 'per_channel' is 1, expected true or false"),
        ("[quantization]\nskip_ops = [1]", "'skip_ops' is [1], expected names"),
        ("[quantization]\nobserver = ''", "'observer' is '', expected text"),
        ("[quantization.observer]\na = 1", "q.toml, line 1: 'observer' is a table, expected text"),
        (
            "[quantization]\n[quantization.bits]\na = '4'",
            "q.toml, line 3: 'a' is '4', expected bits by layer",
        ),
        (
            "[quantization.bits]\n'*/a' = 4\n'*/b' = [4, 8, 8]",
            "q.toml, line 3: '*/b' is [4, 8, 8], expected bits by layer",
        ),
        ("quantization.bits = 4", "q.toml, line 1: 'bits' is 4, expected bits by layer"),
        ("[image]\nmean = [0.5, true, 1]", "'mean' is [0.5, True, 1], expected a number or numbers"),
        ("[image]\nscale = inf", "'scale' is inf, expected a number"),
        ("[calibration]\ntype = 'image'", "line 2: 'type' is 'image', expected arrays or images"),
        (
            "[quantization]\nscheme = 'int88'",
            "unknown quantization scheme 'int88'; did you mean 'int8', 'int4', 'int2'?",
        ),
        ("[calibration]\nsamples = 3", "--calibration-samples has no effect without --quantize"),
        ("[quantization]\n[image]\nmean = 0", "--image-mean has no effect without --calibration-data"),
        (
            "[quantization]\nscheme = 'mixed'\n[search]\nstate = 'gone/s.json'",
            "--search-state cannot be written: there is no folder '",
        ),
        (
            "[quantization]\n[calibration]\ncache = 'gone/c.json'",
            "--calibration-cache cannot be written: there is no folder '",
        ),
        ("[quantization", "q.toml' is not TOML: "),
        ("a = 1\na = 2", "q.toml' is not TOML: "),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(write, text, message):
    with pytest.raises(TvmqError) as caught:
        read_config(write(text))
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(TvmqError, match="configuration file '.*gone.toml' does not exist"):
        read_config(tmp_path / "gone.toml")
    (tmp_path / "q.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TvmqError, match="configuration file '.*q.toml' cannot be read"):
        read_config(tmp_path / "q.toml")
    with pytest.raises(TvmqError, match="cannot be read"):
        read_config(tmp_path)


def test_quantize_takes_what_a_file_says(write):
    config = read_config(
        write(
            f"[quantization]\nskip_ops = 'Gemm'\n[calibration]\nsamples = 3\npath = '{DIGITS}/calibration.npz'"
        )
    )
    assert set(config.arguments()) == {"options", "scheme", "calibration"}
    quantized = tvmq.quantize(str(DIGITS / "digits.onnx"), **config.arguments())
    assert {layer.status for layer in quantized.layers if layer.op == "Gemm"} == {"float"}
    assert {layer.status for layer in quantized.layers if layer.op == "Conv"} == {"int8"}


def test_quantize_says_what_it_skipped(write, tmp_path, caplog):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    (tmp_path / "images").mkdir()
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "images" / f"{index}.png")
    (tmp_path / "images" / "bad.png").write_bytes(b"no picture")
    config = read_config(write("[quantization]\n[calibration]\npath = 'images'"))
    tvmq.quantize(str(DIGITS / "digits.onnx"), **config.arguments())
    assert caplog.messages[-1] == "skipped 1 of 4 images, which cannot be read"


def test_sections_of_the_table_in_order():
    sections = list(dict.fromkeys(row.section for row in OPTIONS))
    assert sections == list(SECTIONS) and CALIBRATION in sections


@pytest.mark.parametrize(
    ("text", "is_on"),
    [("on = true", True), ("steps = 5", True), ("on = false\nsteps = 5", False), ("on = false", False)],
)
def test_what_is_said_of_fine_tuning_turns_it_on(write, text, is_on):
    config = read_config(write(f"[quantization]\n[fine_tune]\n{text}\n"))
    assert (config.options.fine_tune is not None) == is_on


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('budget = "soon"', "a time, such as 90s, 20min or 1h"),
        ("budget = 0", "budget of fine-tuning must be a time"),
        ('learns = ["colours"]', "'colours'"),
        ("progressive = [9]", "from 3 to 8"),
        ('optimizer = "lion"', "adamw or adam or sgd"),
    ],
)
def test_what_fine_tuning_does_not_take(write, text, says):
    with pytest.raises(TvmqError, match=says):
        read_config(write(f"[quantization]\n[fine_tune]\n{text}\n"))
