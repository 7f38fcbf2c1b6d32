"""Packages of compressed weights: smaller, unpacked at load, the same numbers as constants; shared weights once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper, numpy_helper

from tvmq import api
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.compressed import compressed
from tvmq.passes.hub.pairs import activation_pairs, weight_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.pipeline import CalibrationData, calibration_passes
from tvmq.passes.prepare.prepare import Prepare
from tvmq.passes.weight_only.restore import RestoreWeights
from tvmq.runtime.board import make_bundle, run_bundle

RNG = np.random.default_rng(0)
SHAPE = (1, 12, 6, 6)


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def onnx_model(nodes, outputs, constants):
    """Return a model of these ``(op, inputs, outputs, attributes)``; the nodes are named after their outputs."""
    made = [helper.make_node(op, ins, outs, name=outs[0], **attrs) for op, ins, outs, attrs in nodes]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        made,
        "graph",
        [info("x", onnx.TensorProto.FLOAT, SHAPE)],
        [info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def layers():
    """Return a model with a convolution of each kind, and a matrix product; 12 channels are no multiple of a vector."""
    return onnx_model(
        [
            ("Conv", ["x", "dense"], ["a"], {"pads": [1] * 4}),
            ("Conv", ["a", "depthwise"], ["b"], {"pads": [1] * 4, "group": 20}),
            ("Conv", ["b", "grouped"], ["c"], {"group": 4}),
            ("Flatten", ["c"], ["d"], {}),
            ("MatMul", ["d", "fc"], ["y"], {}),
        ],
        ["y"],
        {
            "dense": weight(20, 12, 3, 3),
            "depthwise": weight(20, 1, 3, 3),
            "grouped": weight(8, 5, 1, 1),
            "fc": weight(288, 10),
        },
    )


def heads():
    """Return a model in which three branches have the weights of a convolution and of a Gemm in common."""
    nodes = []
    for index, op in enumerate(("Relu", "Sigmoid", "Tanh")):
        a, b, c, y = (f"{name}{index}" for name in ("act", "conv", "flat", "out"))
        nodes += [
            (op, ["x"], [a], {}),
            ("Conv", [a, "w"], [b], {"pads": [1] * 4}),
            ("Flatten", [b], [c], {}),
            ("Gemm", [c, "fc"], [y], {"transB": 1}),
        ]
    return onnx_model(nodes, ["out0", "out1", "out2"], SHARED)


SHARED = {"w": weight(16, 12, 3, 3), "fc": weight(10, 16 * 36)}
PACKED = 16 * 12 * 9 + 16 * 576
"""How many weights a package of them holds: the ten columns of the Gemm are padded to sixteen."""
INPUT = {"x": weight(*SHAPE)}


@pytest.mark.parametrize(
    "options",
    [
        {"weight_bits": 3, "group_size": 4},
        {"weight_bits": 4, "codebook": True},
        {"weight_bits": 12, "per_channel": False},
    ],
    ids=str,
)
def test_a_package_equals_constants(options):
    quantized = api.quantize(layers(), "weight-only", options=QuantizeOptions(**options))
    package = api.compile(quantized)
    constants = api.compile(RestoreWeights()(quantized.mod))
    np.testing.assert_array_equal(package.run(INPUT)["y"], constants.run(INPUT)["y"])
    assert [tensor["name"] for tensor in package.metadata["inputs"]] == ["x"]
    assert [layer["status"] for layer in package.metadata["layers"]] == [
        *["weight-only"] * 3,
        "float",
        "weight-only",
    ]


def test_fewer_bits_are_fewer_bytes(tmp_path):
    sizes = []
    for bits in (16, 8, 4, 2):
        package = api.compile(api.quantize(heads(), "weight-only", options=QuantizeOptions(weight_bits=bits)))
        beside = package.metadata["bytes"]["weights"] - PACKED * bits // 8
        assert 0 < beside < 300  # scales, biases
        package.export(tmp_path / "model.tar")
        sizes.append((tmp_path / "model.tar").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)


def test_the_runner_of_boards_unpacks_too(tmp_path):
    package = api.compile(
        api.quantize(layers(), "weight-only", "llvm", options=QuantizeOptions(weight_bits=4)), "llvm"
    )
    package.export(tmp_path / "model.tar")
    outputs = run_bundle(make_bundle(tmp_path / "model.tar", tmp_path / "board"), INPUT)
    np.testing.assert_array_equal(outputs["y"], package.run(INPUT)["y"])


def test_shared_weights_are_compressed_and_held_once():
    quantized = api.quantize(heads(), "weight-only", options=QuantizeOptions(weight_bits=8))
    assert [codes.codes.shape for codes in compressed(quantized.mod).values()] == [(16, 12, 3, 3), (576, 10)]
    package = api.compile(quantized)
    assert package.metadata["bytes"]["weights"] < 1.1 * PACKED
    expected = api.compile(heads()).run(INPUT)
    for name, value in package.run(INPUT).items():
        assert np.linalg.norm(value - expected[name]) < 0.02 * np.linalg.norm(expected[name])


def test_shared_weights_have_one_set_of_integers_and_each_branch_its_activations():
    samples = [{"x": weight(*SHAPE)} for _ in range(2)]
    mod = Prepare()(load_onnx(heads()))
    data = CalibrationData(samples)
    mod = tvm.transform.Sequential(calibration_passes(get_scheme("int8"), None, QuantizeOptions(), data))(mod)
    assert [(pair.name, len(pair.readers)) for pair in weight_pairs(mod)] == [("conv0", 3), ("out0", 3)]
    scales = {pair.name: pair.scale for pair in activation_pairs(mod)}
    assert len({scales[f"conv{index}"] for index in range(3)}) == 3
    package = api.compile(api.quantize(heads(), "int8", calibration=samples))
    assert (
        package.metadata["bytes"]["weights"] < 1.2 * PACKED
    )  # each branch has offsets and multipliers of its own
