"""Kernels whose result is repeated over more channels or rows: gates of one channel, dueling heads."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.targets import host

Node = tuple[str, list[str], str, dict]
CHANNELS = 24
IMAGE, MATRIX = (1, CHANNELS, 9, 7), (2, 5, CHANNELS)
CONV = ("Conv", ["x", "w", "b"], "c", {})
PRODUCT = ("MatMul", ["x", "m"], "c", {})

GRAPHS: dict[str, tuple[tuple[int, ...], list[Node]]] = {
    "gate": (IMAGE, [CONV, ("Sigmoid", ["c"], "s", {}), ("Mul", ["x", "s"], "y", {})]),
    "bare": (IMAGE, [CONV, ("Add", ["c", "x"], "y", {})]),
    "relu behind": (IMAGE, [CONV, ("Mul", ["c", "x"], "p", {}), ("Relu", ["p"], "y", {})]),
    "gate and residual": (
        IMAGE,
        [CONV, ("Sigmoid", ["c"], "s", {}), ("Mul", ["s", "x"], "p", {}), ("Add", ["p", "x"], "y", {})],
    ),
    "of means": (
        IMAGE,
        [
            ("ReduceMean", ["x"], "a", {"axes": [1], "keepdims": 1}),
            ("ReduceMax", ["x"], "e", {"axes": [1], "keepdims": 1}),
            ("Concat", ["a", "e"], "j", {"axis": 1}),
            ("Conv", ["j", "w7"], "c", {"pads": [3] * 4}),
            ("Sigmoid", ["c"], "s", {}),
            ("Mul", ["x", "s"], "y", {}),
        ],
    ),
    "two gates": (
        IMAGE,
        [
            CONV,
            ("Sigmoid", ["c"], "s", {}),
            ("Mul", ["x", "s"], "p", {}),
            ("Conv", ["p", "w", "b"], "c2", {}),
            ("HardSigmoid", ["c2"], "s2", {}),
            ("Mul", ["p", "s2"], "y", {}),
        ],
    ),
    "over columns": (
        IMAGE,
        [("Conv", ["x", "wide"], "c", {"group": CHANNELS}), ("Mul", ["x", "c"], "y", {})],
    ),
    "product": (MATRIX, [PRODUCT, ("Tanh", ["c"], "s", {}), ("Mul", ["s", "x"], "y", {})]),
    "two products": (
        MATRIX,
        [PRODUCT, ("MatMul", ["x", "n"], "a", {}), ("Add", ["c", "a"], "y", {})],
    ),
}


@pytest.fixture(scope="module")
def model() -> Callable[[str], tuple[onnx.ModelProto, list[dict[str, np.ndarray]]]]:
    rng = np.random.default_rng(0)
    shapes = {
        "w": (1, CHANNELS, 1, 1),
        "b": (1,),
        "w7": (1, 2, 7, 7),
        "wide": (CHANNELS, 1, 1, 7),
        "m": (CHANNELS, 1),
        "n": (CHANNELS, 10),
    }
    weights = {name: rng.normal(0, 0.3, shape).astype("f4") for name, shape in shapes.items()}

    def make(name: str) -> tuple[onnx.ModelProto, list[dict[str, np.ndarray]]]:
        shape, rows = GRAPHS[name]
        nodes = [helper.make_node(op, list(ins), [out], **attrs) for op, ins, out, attrs in rows]
        used = set(itertools.chain.from_iterable(ins for _, ins, _, _ in rows))
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, key) for key, array in weights.items() if key in used],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        return proto, [{"x": rng.normal(size=shape).astype("f4")} for _ in range(4)]

    return make


@pytest.mark.parametrize("name", GRAPHS)
def test_repeated_results(name: str, model, caplog: pytest.LogCaptureFixture) -> None:
    if host.missing_features("x86_64", ["avx2"]) or host.architecture() != "x86_64":
        pytest.skip("the rows of x86 run on x86-64")
    proto, samples = model(name)
    (expected,) = ReferenceEvaluator(proto).run(None, samples[0])
    found = tvmq.compile(proto, "llvm -mcpu=znver3").run(samples[0])["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # sums of 24 to 98 products of size 1
    integers = []
    for cpu, feature in (("znver3", "avx2"), ("skylake-avx512", "avx512bw"), ("znver4", "avx512vnni")):
        if not host.missing_features("x86_64", [feature]):
            target = f"llvm -mcpu={cpu}"
            options = tvmq.QuantizeOptions(pair_safe_weights=False)
            quantized = tvmq.quantize(proto, "int8", target, samples, options=options)
            integers.append(tvmq.compile(quantized, target).run(samples[0])["y"])
    for other in integers[1:]:
        np.testing.assert_array_equal(other, integers[0])
    error = np.linalg.norm(integers[0] - expected) / np.linalg.norm(expected)
    assert error < 0.05  # a few roundings to 8 bits
    assert not [record for record in caplog.records if "may be slow" in record.getMessage()]
