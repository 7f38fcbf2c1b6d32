"""Hardware descriptions: the files, and what they do to quantization."""

from __future__ import annotations

from pathlib import Path

import pytest

import tvmq
from tvmq.config.hardware_file import read_hardware
from tvmq.errors import TvmqError
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.annotate.restrict import restrict
from tvmq.passes.hub.annotation import scheme_of
from tvmq.passes.hub.bits import get_bits
from tvmq.passes.hub.schemes import get_scheme
from tvmq.targets.hardware import Hardware

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
NPU8, MCU4 = (ROOT / "examples" / "hardware" / name for name in ("npu8.toml", "mcu4.toml"))
TEXT = """
name = "npu"
operators = ["Conv", "Relu"]
weight_bits = [4, 8]
activation_bits = 8
weight_granularity = "tensor"
activations = ["symmetric"]
"""


def hardware(**changes) -> Hardware:
    fields = {
        "name": "npu",
        "operators": ("Conv",),
        "weight_bits": (4, 8),
        "activation_bits": (8,),
        "weight_granularity": ("tensor",),
        "activations": ("symmetric",),
    }
    return Hardware(**{**fields, **changes})


def test_examples():
    npu8 = read_hardware(NPU8)
    assert (npu8.weight_bits, npu8.weight_granularity, npu8.scales) == ((8,), ("channel", "tensor"), "float")
    mcu4 = read_hardware(MCU4)
    assert (mcu4.weight_bits, mcu4.activations, mcu4.scales) == ((4, 8), ("symmetric",), "power-of-two")


def test_what_the_scheme_leaves_open_falls_to_the_hardware():
    options = QuantizeOptions(hardware=hardware())
    scheme = restrict(get_scheme("int8"), options)
    assert (scheme.per_channel, scheme.symmetric_activations) == (False, True)
    options = QuantizeOptions(hardware=hardware(weight_granularity=("tensor", "channel")))
    assert restrict(get_scheme("int8"), options).per_channel  # the scheme's own, which the hardware has


def test_without_hardware_the_options_alone_count():
    options = QuantizeOptions(weight_bits=3, activation_bits=6, per_channel=False, activations="symmetric")
    scheme = restrict(get_scheme("int8"), options)
    assert (scheme.weight_bits, scheme.activation_bits, scheme.edge_bits) == (3, 6, 8)
    assert (scheme.per_channel, scheme.symmetric_activations) == (False, True)
    assert restrict(get_scheme("int8"), QuantizeOptions()) == get_scheme("int8")


def test_hardware_that_shifts_gets_powers_of_two():
    assert not restrict(get_scheme("int8"), QuantizeOptions(hardware=hardware())).power_of_two
    assert restrict(
        get_scheme("int8"), QuantizeOptions(hardware=hardware(scales="power-of-two"))
    ).power_of_two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 6}, "the hardware 'npu' has no weights of 6 bits; it has 4, 8 bits"),
        ({"activation_bits": 4}, "the hardware 'npu' has no activations of 4 bits; it has 8 bits"),
        ({"per_channel": True}, "the hardware 'npu' has no weight scales by channel; it has tensor"),
        ({"activations": "asymmetric"}, "the hardware 'npu' has no asymmetric activations; it has symmetric"),
    ],
)
def test_what_the_user_asks_for_and_the_hardware_lacks(options, message):
    with pytest.raises(TvmqError, match=message):
        restrict(get_scheme("int8"), QuantizeOptions(hardware=hardware(), **options))


def quantized(scheme="int8", **options):
    return tvmq.quantize(
        str(DIGITS / "digits.onnx"),
        scheme,
        calibration=str(DIGITS / "calibration.npz"),
        options=QuantizeOptions(**options),
    )


def test_operators_that_it_lacks_stay_float():
    model = quantized(hardware=hardware(operators=("Conv", "Relu")))
    for layer in model.layers:
        if layer.op == "Conv":
            assert layer.status == "int8"
        if layer.op == "Gemm":
            assert (layer.status, layer.reason) == ("float", "the hardware 'npu' has no Gemm")
    assert not scheme_of(model.mod).per_channel


def test_bits_of_single_layers_are_checked():
    name = next(layer.name for layer in quantized().layers if layer.op == "Conv")
    message = f"no weights of 6 bits, which layer '{name}' is to have; it has 4, 8 bits"
    with pytest.raises(TvmqError, match=message):
        quantized(hardware=read_hardware(MCU4), bits={name: 6})
    model = quantized(hardware=read_hardware(MCU4), bits={name: 4})
    assert get_bits(model.mod).of_weights(name) == 4


def test_the_shipped_descriptions_quantize_the_example():
    assert any(layer.status == "int8" for layer in quantized(hardware=read_hardware(NPU8)).layers)
    assert any(layer.status == "w4a8" for layer in quantized("w4a8", hardware=read_hardware(MCU4)).layers)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "npu"', "", "npu.toml lacks the key 'name', what it is called"),
        ('name = "npu"', 'nam = "npu"', "npu.toml, line 2: unknown key 'nam'; did you mean 'name'?"),
        ('"Conv"', '"Convolution"', "npu.toml: unknown ONNX operator 'Convolution'; did you mean"),
        ('["Conv", "Relu"]', "[]", "npu.toml: the hardware 'npu' has no operators"),
        ("[4, 8]", "[4, 16]", "npu.toml: weight_bits must be from 2 to 8, got 16"),
        ("[4, 8]", "[]", "npu.toml, line 4: 'weight_bits' is [], expected a number of bits"),
        ("[4, 8]", '"8"', "npu.toml, line 4: 'weight_bits' is '8', expected a number of bits"),
        ('"tensor"', '"tensors"', "unknown weight granularity 'tensors'; did you mean 'tensor'?"),
        ('["symmetric"]', "[]", "npu.toml: activations is empty; valid: symmetric, asymmetric"),
        (
            'name = "npu"',
            'name = "npu"\nscales = "shift"',
            "unknown kind of scales 'shift'; valid: float, power-of-two",
        ),
    ],
)
def test_wrong_files(tmp_path, old, new, message):
    assert old in TEXT
    (tmp_path / "npu.toml").write_text(TEXT.replace(old, new))
    with pytest.raises(TvmqError) as caught:
        read_hardware(tmp_path / "npu.toml")
    assert message in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(TvmqError, match="hardware file '.*gone.toml' does not exist"):
        read_hardware(tmp_path / "gone.toml")
