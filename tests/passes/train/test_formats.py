"""What was trained here comes in again from files of other formats with the same results, bit for bit.

    hub  -->  the same integers, scales, zero points and biases in a file  -->  hub

The last layer gives float32 of all bits of its sums, so equal results say that all integers before them are equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper, numpy_helper
from tvm import relax

import tvmq
from tests.frontends.tflite.writer import Writer
from tvmq.passes import QuantizeOptions
from tvmq.passes.hub.graph import bindings_of, layer_name
from tvmq.passes.hub.pairs import ActivationPair, WeightPair, activation_pairs, weight_pairs
from tvmq.passes.hub.parameters import along
from tvmq.passes.improve.bias_correction import biases_of
from tvmq.passes.train.binary import BinaryLayers

from ..modules import const, module

SHAPE, CLASSES = (1, 3, 12, 12), 5


def _network(b, x):
    def layer(name, data, *weight, **attrs):
        result = b.add(relax.op.nn.conv2d(data, const(*weight, seed=weight[1]), **attrs), name)
        result = b.add(relax.op.add(result, const(1, weight[0], 1, 1)))
        return b.add(relax.op.nn.relu(result))

    wide = layer("stem", x, 8, 3, 3, 3, padding=1)
    wide = layer("depthwise", wide, 8, 1, 3, 3, padding=1, groups=8)
    deep = layer("deep", wide, 16, 8, 3, 3, strides=2)
    pooled = b.add(relax.op.reshape(b.add(relax.op.mean(deep, [2, 3]), "mean"), (1, 16)))
    return b.add(relax.op.add(b.add(relax.op.matmul(pooled, const(16, CLASSES)), "dense"), const(CLASSES)))


def _images(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).standard_normal((count, *SHAPE)).astype(np.float32))


def _trained(scheme: str) -> tvmq.QuantizedModel:
    """Return the network after some steps in which all of it has moved."""
    given = [{"x": image} for image in _images(8, seed=6)]
    options = QuantizeOptions(rounding="nearest")
    quantized = tvmq.quantize(module({"x": SHAPE}, _network), scheme, calibration=given, options=options)
    model = quantized.trainable(batch=4)

    def loss(outputs: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        ((name, scores),) = outputs.items()
        return 0.5 * float(np.square(scores).sum()), {name: scores}

    start = model.parameters
    for _ in range(5):
        _, gradients = model.loss_and_gradients({"x": np.concatenate(_images(8, seed=7))}, loss)
        model.step(gradients, 0.05)
    assert not any(np.array_equal(values, start[name]) for name, values in model.parameters.items())
    return quantized.trained(model)


def _results(model, images: Sequence[np.ndarray]) -> np.ndarray:
    package = tvmq.compile(model)
    return np.concatenate([next(iter(package.run(image).values())) for image in images])


def _biases(hub: tvm.IRModule) -> dict[str, np.ndarray]:
    """Return the biases by their layers' names."""
    values = {binding.var: binding.value for binding in bindings_of(hub)}
    return {layer_name(values[bias.weighted]): bias.values for bias in biases_of(hub).values()}


# TFLite: operators on integers, as its own tools write them.


def _stored(w: Writer, name: str, shape: Sequence[int], pair: ActivationPair) -> int:
    """Add a tensor of int8: what is here uint8, less 128."""
    return w.tensor(name, shape, "int8", pair.scale, pair.zero_point - 128)


def _weight(w: Writer, pair: WeightPair, axes: Sequence[int], axis: int) -> int:
    dtype = "int4" if pair.bits == 4 else "int8"
    zeros = np.zeros(pair.scales.size)
    return w.constant(pair.integers.transpose(axes), dtype, scale=pair.scales, zero_point=zeros, axis=axis)


def _tflite(hub: tvm.IRModule) -> tuple[Writer, int]:
    """Return the network's file, and the place of its output."""
    pairs = {pair.name: pair for pair in activation_pairs(hub)}
    weights, biases = {pair.name: pair for pair in weight_pairs(hub)}, _biases(hub)
    w = Writer()

    def product(
        data: int, op: str, layer: str, reads: str, shape: Sequence[int], axes, axis: int, **how
    ) -> int:
        pair = weights[layer]
        scales = np.float32(pairs[reads].scale) * pair.scales
        integers = np.rint(biases[layer] / scales)
        bias = w.constant(integers, "int32", scale=scales, zero_point=np.zeros(scales.size))
        result = _stored(w, layer, shape, pairs[layer])
        operands = [data, _weight(w, pair, axes, axis), bias]
        return w.op(op, operands, result, fused_activation_function=1, **how)

    same = {"padding": 0, "stride_w": 1, "stride_h": 1}
    halved = {"padding": 1, "stride_w": 2, "stride_h": 2}
    data = w.input("x", (1, 12, 12, 3))
    data = w.op("QUANTIZE", [data], _stored(w, "image", (1, 12, 12, 3), pairs["x"]))
    data = product(data, "CONV_2D", "stem", "x", (1, 12, 12, 8), (0, 2, 3, 1), 0, **same)
    data = product(data, "DEPTHWISE_CONV_2D", "depthwise", "stem", (1, 12, 12, 8), (1, 2, 3, 0), 3, **same,
                   depth_multiplier=1)  # fmt: skip
    data = product(data, "CONV_2D", "deep", "depthwise", (1, 5, 5, 16), (0, 2, 3, 1), 0, **halved)
    data = w.op(
        "MEAN", [data, w.constant([1, 2])], _stored(w, "mean", (1, 16), pairs["mean"]), keep_dims=False
    )
    floats = [
        w.op("DEQUANTIZE", [data], w.tensor("pooled", (1, 16), "float32")),
        w.op(
            "DEQUANTIZE", [_weight(w, weights["dense"], (1, 0), 0)], w.tensor("w", (CLASSES, 16), "float32")
        ),
        w.constant(biases["dense"], "float32"),
    ]
    return w, w.op("FULLY_CONNECTED", floats, w.tensor("scores", (1, CLASSES), "float32"))


def test_tflite(tmp_path):
    """Weights of 8 bits and of 4; TFLite has no activations of fewer than 8."""
    trained, images = _trained("w4a8"), _images(6, seed=9)
    w, output = _tflite(trained.stages.simulated)
    mod = tvmq.load_tflite(w.save(tmp_path / "model.tflite", [output]))
    found = _results(mod, [image.transpose(0, 2, 3, 1).copy() for image in images])
    assert np.array_equal(found, _results(trained, images))


# QONNX: float operators between nodes that round.


class _Qonnx:
    """The network's nodes and constants; each method returns the name of a value."""

    DOMAIN = "qonnx.custom_op.general"

    def __init__(self, hub: tvm.IRModule):
        self._nodes: list[onnx.NodeProto] = []
        self._arrays: list[onnx.TensorProto] = []
        self._pairs = {pair.name: pair for pair in activation_pairs(hub)}
        self._weights, self._biases = {pair.name: pair for pair in weight_pairs(hub)}, _biases(hub)
        bits = BinaryLayers.of(hub)
        self._steps, self._signs = (
            list(bits.steps.values()),
            {own.layer: own for own in bits.weights.values()},
        )

    def model(self) -> onnx.ModelProto:
        data = self._activation("x", "x")
        data = self._layer("stem", data, pads=(1, 1, 1, 1))
        data = self._layer("depthwise", data, pads=(1, 1, 1, 1), group=8)
        data = self._step(data) if "deep" in self._signs else data
        data = self._layer("deep", data, strides=(2, 2))
        data = self._activation("mean", self._node("ReduceMean", data, axes=(2, 3), keepdims=0))
        product = self._node("MatMul", data, self._weight("dense"))
        self._nodes.append(helper.make_node("Add", [product, self._constant(self._biases["dense"])], ["y"]))
        ends = (helper.make_tensor_value_info(*each) for each in (("x", 1, SHAPE), ("y", 1, (1, CLASSES))))
        graph = helper.make_graph(self._nodes, "qonnx", *([end] for end in ends), self._arrays)
        imports = [helper.make_opsetid("", 17), helper.make_opsetid(self.DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def _layer(self, name: str, data: str, **how) -> str:
        weight, bias = self._weight(name), self._constant(self._biases[name])
        result = self._node("Relu", self._node("Conv", data, weight, bias, **how))
        return self._activation(name, result) if name in self._pairs else result

    def _activation(self, name: str, data: str) -> str:
        pair = self._pairs[name]
        return self._quant(
            data, pair.scale, pair.zero_point, pair.bits, signed=int(pair.dtype == "int8"), narrow=0
        )

    def _step(self, data: str) -> str:
        """Add ``where(x >= t, h, l)`` as a sign, which has the values h and -h, or, with h/2 added, h and 0."""
        (step,) = self._steps
        moved = self._node("Sub", data, self._constant(step.threshold))
        if step.low != 0.0:
            return self._node("BipolarQuant", moved, self._constant(step.high), domain=self.DOMAIN)
        half = self._constant(0.5 * step.high)
        return self._node("Add", self._node("BipolarQuant", moved, half, domain=self.DOMAIN), half)

    def _weight(self, name: str) -> str:
        if name in self._signs:
            own = self._signs[name]
            scales = along(own.scales, own.axis, own.signs.ndim)
            operands = map(self._constant, (own.signs * scales, scales))
            return self._node("BipolarQuant", *operands, domain=self.DOMAIN)
        pair = self._weights[name]
        scales = along(pair.scales, pair.axis, pair.values.ndim)
        narrow = int(-pair.limits[0] == pair.limits[1])
        return self._quant(self._constant(pair.restored), scales, 0, pair.bits, signed=1, narrow=narrow)

    def _quant(self, data: str, scale, zero: int, bits: int, **how) -> str:
        parameters = map(self._constant, (scale, zero, bits))
        return self._node("Quant", data, *parameters, domain=self.DOMAIN, rounding_mode="ROUND", **how)

    def _constant(self, values) -> str:
        self._arrays.append(numpy_helper.from_array(np.asarray(values, np.float32), f"c{len(self._arrays)}"))
        return self._arrays[-1].name

    def _node(self, op: str, *inputs: str, domain: str = "", **attributes) -> str:
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name, domain=domain, **attributes))
        return name


@pytest.mark.parametrize("scheme", ["w2a2", "binary"])
def test_qonnx(scheme):
    """``Quant`` is a pair of so many bits, and ``BipolarQuant`` has two values."""
    trained, images = _trained(scheme), _images(6, seed=9)
    model = _Qonnx(trained.stages.simulated).model()
    assert np.array_equal(_results(model, images), _results(trained, images))
