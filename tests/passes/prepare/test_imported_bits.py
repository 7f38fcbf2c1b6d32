"""Bits of tensors in modules that came quantized: found where clips and integers tell, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from tvm import relax

import tvmq
from tvmq.passes.hub.annotation import has_pairs
from tvmq.passes.hub.bits import ATTRIBUTE, Bits, get_bits, with_bits
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.pairs import activation_pairs, float_form
from tvmq.passes.prepare.imported_bits import ImportedBits
from tvmq.passes.prepare.prepare import Prepare
from tvmq.passes.realize.layout import Layout
from tvmq.passes.realize.realize import Realize
from tvmq.passes.realize.realizers.dots import choose_dot
from tvmq.passes.realize.realizers.weights import Weight
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from ..modules import operators
from ..qdq import Hub

SHAPE, SCALE = (1, 4, 6, 6), 0.25


def _weights(low: int, high: int) -> np.ndarray:
    values = np.random.default_rng(0).integers(low, high + 1, (6, 4, 3, 3)).astype("int8")
    values[0, 0, 0, :2] = low, high
    return values


def _module(limits=(-8, 7), weights=(-8, 7), dtype="int8", zero_point=0):
    """A convolution of an activation that is clipped to these integers, with weights between those."""
    hub = Hub(x=(SHAPE, "float32"))

    def define(hub):
        x = hub.params["x"]
        if limits is not None:
            floats = [(limit - zero_point) * SCALE for limit in limits]
            x = hub.emit(relax.op.clip(x, *floats), "clip")
        integers = relax.op.quantize(
            x, relax.const(np.float32(SCALE)), relax.const(np.asarray(zero_point, dtype)), out_dtype=dtype
        )
        x = hub.dequantize(hub.emit(integers, "quantize"), SCALE, zero_point, dtype)
        weight = hub.weight(_weights(*weights), np.full(6, 0.1, "float32"), 0)
        return hub.emit(relax.op.nn.conv2d(x, weight, padding=1), "conv")

    return hub.module(define)


def test_a_clipped_activation_and_weights_of_four_bits():
    mod = Prepare()(_module())
    assert get_bits(mod) == Bits(weights={"conv": 4}, activations={"quantize": 4})
    (pair,) = activation_pairs(mod)
    assert pair.bits == 4 and pair.range == (-8 * SCALE, 7 * SCALE)
    assert {layer.name: layer.details for layer in get_layers(mod)}["quantize"] == {"output_bits": 4}
    # The clip is the pair's: without it the model is float.
    assert "clip" not in operators(float_form(mod))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"limits": (0, 15), "dtype": "uint8"}, Bits(weights={"conv": 4}, activations={"quantize": 4})),
        (
            {"limits": (0, 3), "dtype": "uint8", "zero_point": 1},
            Bits(weights={"conv": 4}, activations={"quantize": 2}),
        ),
        ({"weights": (-7, 7)}, Bits(weights={"conv": 4}, activations={"quantize": 4})),
        ({"weights": (-1, 1)}, Bits(weights={"conv": 2}, activations={"quantize": 4})),
        ({"weights": (-9, 7)}, Bits(weights={"conv": 5}, activations={"quantize": 4})),
        # Limits that no number of bits has are an operator like any other.
        ({"limits": (-7, 7)}, Bits(weights={"conv": 4})),
        ({"limits": (0, np.inf), "dtype": "uint8"}, Bits(weights={"conv": 4})),
        ({"limits": None}, Bits(weights={"conv": 4})),
        ({"limits": (-128, 127), "weights": (-127, 127)}, None),
    ],
)
def test_what_is_recognised(changes, expected):
    mod = ImportedBits()(_module(**changes))
    assert (ATTRIBUTE in (mod.attrs or {})) == (expected is not None)
    assert get_bits(mod) == (expected or Bits())


def test_what_says_it_itself_and_float_models_stay():
    mod = with_bits(_module(), Bits())
    assert ImportedBits()(mod).same_as(mod)
    hub = Hub(x=(SHAPE, "float32"))
    plain = hub.module(lambda hub: hub.emit(relax.op.clip(hub.params["x"], 0, 6), "clip"))
    assert not has_pairs(plain) and ImportedBits()(plain).same_as(plain)


@pytest.mark.parametrize(("limits", "bits", "is_fast"), [((-8, 7), 4, True), ((-127, 127), 8, False)])
def test_few_bits_take_the_fast_multiply_of_avx2(limits, bits, is_fast):
    row = row_of(parse_target("llvm -mcpu=haswell"))
    (layer,) = [layer for layer in get_layers(_realized(row, limits)) if layer.name == "conv"]
    assert (layer.status, layer.details["weight_bits"]) == ("int8", bits)
    chosen = choose_dot(row, Weight(_weights(*limits), np.ones(6), 0), merged=False)
    assert (chosen.lane_limit is not None) == is_fast


def _realized(row, weights):
    return Realize(row)(Layout()(Prepare()(_module(weights=weights))))


def test_the_integers_are_what_the_module_says():
    mod = Prepare()(_module())
    x = (3.0 * np.random.default_rng(1).standard_normal(SHAPE)).astype("float32")
    package = tvmq.compile(mod)
    (result,) = package.run({"x": x}).values()
    clipped = np.clip(np.rint(x / SCALE), -8, 7)
    padded = np.pad(clipped, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, _weights(-8, 7))
    np.testing.assert_allclose(result, sums * np.float32(SCALE) * np.float32(0.1), rtol=1e-6)


def test_a_qcdq_file_has_the_bits_that_its_clips_leave():
    rng = np.random.default_rng(2)
    node = onnx.helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("Clip", ["xq", "low", "high"], ["xc"], name="x clip"),
        node("DequantizeLinear", ["xc", "s", "z"], ["xd"]),
        node("Clip", ["q", "least", "high"], ["qc"]),
        node("DequantizeLinear", ["qc", "s", "z"], ["w"]),
        node("Conv", ["xd", "w"], ["y"], name="conv"),
    ]
    arrays = {
        "s": np.float32(0.3),
        "z": np.int8(0),
        "low": np.int8(-8),
        "least": np.int8(-7),
        "high": np.int8(7),
        "q": rng.integers(-20, 21, (6, 4, 1, 1)).astype(np.int8),
    }
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "qcdq",
        [value("x", onnx.TensorProto.FLOAT, SHAPE)],
        [value("y", onnx.TensorProto.FLOAT, (1, 6, 6, 6))],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    quantized = tvmq.quantize(model)
    assert get_bits(quantized.mod) == Bits(weights={"conv": 4}, activations={"x clip": 4})
    sample = {"x": (3.0 * rng.standard_normal(SHAPE)).astype(np.float32)}
    (result,) = tvmq.compile(quantized).run(sample).values()
    (expected,) = ReferenceEvaluator(model).run(None, sample)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)
