"""Products whose rows are those of several axes: the numbers, and what may stand behind them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.passes.realize.compute.contraction import rows_of
from tvmq.targets import host

DEPTH = 20
BEHIND = {
    "alone": [],
    "gelu and residual": [("Gelu", ["{}"], {}), ("Add", ["{}", "r"], {})],
    "per channel": [("Add", ["{}", "b"], {})],
    "reshaped": [("Reshape", ["{}", "heads"], {})],
    "reshaped and transposed": [
        ("Reshape", ["{}", "heads"], {}),
        ("Transpose", ["{}"], {"perm": [0, 2, 1, 3]}),
    ],
    "transposed": [("Transpose", ["{}"], {"perm": [1, 0, 2]}), ("Tanh", ["{}"], {})],
    "flattened": [("Reshape", ["{}", "flat"], {}), ("Tanh", ["{}"], {})],
}


def model(lead: tuple[int, ...], channels: int, behind: str) -> onnx.ModelProto:
    """Return a product of ``[*lead, DEPTH]`` with what is behind it."""
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.standard_normal((DEPTH, channels)).astype(np.float32),
        "b": rng.standard_normal(channels).astype(np.float32),
        "r": rng.standard_normal((*lead, channels)).astype(np.float32),
        "heads": np.array([*lead, channels // 3, 3] if channels % 3 == 0 else [*lead, channels, 1]),
        "flat": np.array([-1]),
    }
    nodes, last = [helper.make_node("MatMul", ["x", "w"], ["m"])], "m"
    for place, (operator, inputs, attributes) in enumerate(BEHIND[behind]):
        names = [name.format(last) for name in inputs]
        last = f"v{place}"
        nodes.append(helper.make_node(operator, names, [last], **attributes))
    nodes[-1].output[0] = "y"
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "merged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*lead, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def data(lead: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((*lead, DEPTH)).astype(np.float32)


@pytest.fixture(autouse=True)
def of_x86() -> None:
    if host.architecture() != "x86_64" or host.missing_features("x86_64", ["avx2"]):
        pytest.skip("the rows of x86 run on x86-64")


CHANNELS, LEADS = [1, 15, 24, 33], [(3, 7), (2, 9), (5, 13)]


@pytest.mark.parametrize(
    ("behind", "lead", "channels"),
    # What is behind meets all channels, and all leads; so do channels and leads.
    [
        (behind, LEADS[(place + step) % 3], channels)
        for place, behind in enumerate(BEHIND)
        for step, channels in enumerate(CHANNELS)
    ],
)
def test_floats(behind, lead, channels):
    proto, x = model(lead, channels, behind), data(lead)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    found = tvmq.compile(proto, "llvm -mcpu=znver3").run({"x": x})["y"]
    # Sums of 20 products of at most 4 * 4, in another order, and 1e-6 of what GELU and tanh are off.
    np.testing.assert_allclose(found, expected, atol=20 * 16 * 2.0**-23 + 2e-6)


@pytest.mark.parametrize("scheme", ["int8", "dynamic"])
@pytest.mark.parametrize("lead", [(3, 7), (2, 2, 9)])
@pytest.mark.parametrize("behind", ["alone", "gelu and residual", "per channel"])
def test_integers_are_those_of_rows_of_one_axis(scheme, lead, behind):
    samples = [data(lead, seed) for seed in range(3)] if scheme == "int8" else None
    found = _quantized(model(lead, 24, behind), scheme, samples).run({"x": data(lead)})["y"]
    rows = (int(np.prod(lead)),)
    flat = None if samples is None else [sample.reshape(*rows, DEPTH) for sample in samples]
    expected = _quantized(model(rows, 24, behind), scheme, flat).run({"x": data(rows)})["y"]
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def _quantized(proto: onnx.ModelProto, scheme: str, samples: list[np.ndarray] | None) -> tvmq.Package:
    calibration = None if samples is None else [{"x": sample} for sample in samples]
    quantized = tvmq.quantize(proto, scheme, "llvm -mcpu=znver3", calibration)
    return tvmq.compile(quantized, "llvm -mcpu=znver3")


@pytest.mark.parametrize(
    ("shape", "merges", "rows"),
    [
        ((4, 49, 8), True, 196),
        ((4, 49, 8), False, 49),
        ((1, 49, 8), True, 49),
        ((8,), True, 1),
        ((6, 1, 8), False, 6),
    ],
)
def test_rows_of(shape, merges, rows):
    assert rows_of(shape, merges) == rows
