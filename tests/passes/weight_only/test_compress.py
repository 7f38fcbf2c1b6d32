"""Which weights are compressed, to how many bits, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.api import quantize
from tvmq.errors import TvmqError
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.compressed import compressed
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.weight_only.compress import CompressWeights
from tvmq.passes.weight_only.group import grouped

from ..modules import const, module, operators, random


def net():
    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, const(8, 4, 3, 3), padding=1), "first", "Conv")
        relu = b.add(relax.op.nn.relu(first), "relu", "Relu")
        second = b.add(relax.op.nn.conv2d(relu, const(1, 8, 1, 1)), "second", "Conv")
        flat = b.add(relax.op.reshape(second, (1, 36)), "flat", "Reshape")
        return b.add(relax.op.matmul(flat, const(36, 10)), "third", "MatMul")

    return module({"x": (1, 4, 6, 6)}, body)


def compress(mod=None, **options):
    return CompressWeights(get_scheme("weight-only"), QuantizeOptions(**options))(mod or net())


def bits(mod):
    return {layer.name: layer.details["weight_bits"] for layer in get_layers(mod) if layer.details}


def test_weights_are_unpacked_in_front_of_their_layer():
    mod = compress(weight_bits=4, group_size=2)
    assert operators(mod) == [
        *("call_tir", "conv2d", "add"),
        "relu",
        *("call_tir", "conv2d", "add"),
        "reshape",
        "call_tir",
        "matmul",
    ]
    assert [codes.table.shape for codes in compressed(mod).values()] == [(8, 2, 1, 1), (1, 4, 1, 1), (18, 10)]


def test_records():
    first, relu, *_, third = get_layers(compress(weight_bits=3, skip_layers=["third"]))
    assert (first.status, first.reason) == ("weight-only", "")
    assert first.details["weight_bytes"] == 8 * 36 * 3 // 8 + 8 * 4
    assert first.details["weight_shape"] == [8, 4, 3, 3]
    assert first.details["weight_group_size"] == 4
    assert (relu.status, relu.reason) == ("float", "it has no weights to compress")
    assert (third.status, third.reason) == ("float", "skipped by layer 'third'")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"first": 8, "second": 8, "third": 8}),
        ({"weight_bits": 16}, {"first": 16, "second": 16, "third": 16}),
        ({"bits": {"third": 1, "f*": 12}}, {"first": 12, "second": 8, "third": 1}),
        ({"quantize_first": False, "quantize_last": False}, {"second": 8}),
        ({"min_weight_size": 100}, {"first": 8, "third": 8}),
        ({"min_weight_channels": 9}, {"third": 8}),
        ({"quantize_only": ["Conv"]}, {"first": 8, "second": 8}),
    ],
)
def test_bits_by_layer(options, expected):
    assert bits(compress(**options)) == expected


def test_mixed_bits_are_the_fewest_that_are_enough():
    weight = random(36, 10, seed=1)
    found = bits(compress(weight_bits=0, mixed_start_scale=0.01))["third"]
    fewer, enough = (
        np.linalg.norm(grouped(weight, 1, count, observer="mse").values() - weight)
        for count in (found - 1, found)
    )
    mean_size = (8 * 36 + 8 + 360) / 3
    assert enough <= 0.01 * np.sqrt(360 / mean_size) * np.linalg.norm(weight) < fewer


def test_small_layers_get_more_of_mixed_bits():
    rough = bits(compress(weight_bits=0, mixed_start_scale=0.9))
    assert rough["first"] == rough["third"] == 1 < rough["second"]
    said = bits(compress(weight_bits=0, bits={"second": 7}, mixed_start_scale=0.9))
    assert said == {"first": 1, "second": 7, "third": 1}
    alone = bits(compress(weight_bits=0, quantize_only=["second"], mixed_start_scale=0.9))
    assert alone == {"second": 1}


def test_mixed_codebooks_have_no_more_entries_than_weights():
    assert bits(compress(weight_bits=0, codebook=True, mixed_start_scale=1e-6)) == {
        "first": 8,
        "second": 3,
        "third": 8,
    }


def test_no_samples_are_asked_for():
    assert quantize(net(), "weight-only").scheme == "weight-only"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": {"fourth": 4}}, "unknown weighted layer 'fourth'"),
        ({"bits": {"first": 17}}, "bits of layer 'first': expected 1 to 16, for the weights alone, got 17"),
        ({"bits": {"first": (4, 8)}}, r"expected 1 to 16, for the weights alone, got \(4, 8\)"),
        ({"codebook": True, "bits": {"first": 9}}, "expected 1 to 8, for the weights alone, got 9"),
        ({"codebook": True}, "layer 'second': a codebook of 256 entries is more than its 8 weights"),
        ({"codebook": True, "group_size": 4}, "group_size has no effect with a codebook, only with integers"),
        ({"activation_bits": 8}, "activation_bits has no effect with the scheme 'weight-only'"),
        ({"rounding": "hessian"}, "rounding has no effect with the scheme 'weight-only'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(TvmqError, match=message):
        compress(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 17}, "weight_bits must be from 0 to 16, got 17"),
        ({"weight_bits": 9, "codebook": True}, "weight_bits must be from 0 to 8 with a codebook, got 9"),
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(TvmqError, match=f"^{message}"):
        QuantizeOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 1}, "weight_bits must be from 2 to 8 for the scheme 'int8', or 0, got 1"),
        ({"weight_bits": 16}, "'weight-only' takes 1 to 16"),
        ({"group_size": 32}, "group_size has no effect with the scheme 'int8', only with 'weight-only'"),
        ({"codebook": True}, "codebook has no effect with the scheme 'int8', only with 'weight-only'"),
    ],
)
def test_other_schemes_have_none_of_it(options, message):
    samples = [{"x": random(1, 4, 6, 6)}]
    with pytest.raises(TvmqError, match=message):
        quantize(net(), "int8", calibration=samples, options=QuantizeOptions(**options))


def test_a_model_without_weights():
    mod = module({"x": (2, 3)}, lambda b, x: b.add(relax.op.nn.relu(x), "relu", "Relu"))
    with pytest.raises(TvmqError, match="^the model has no weights to compress"):
        compress(mod)


def test_weights_that_are_not_finite():
    weight = random(4, 3)
    weight[0, 0] = np.inf
    mod = module({"x": (2, 4)}, lambda b, x: b.add(relax.op.matmul(x, relax.const(weight)), "fc", "MatMul"))
    with pytest.raises(TvmqError, match="the weights of layer 'fc' hold NaN or infinity"):
        compress(mod)
