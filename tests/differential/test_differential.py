"""Two hundred graphs of fixed seeds are as the reference has them, and quantized networks the same on each target.

So are fifty on a GPU, which is emulated where there is none.

``scripts/differential.py`` runs any other seeds.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from .check import difference, differences, isolated
from .draft import Draft
from .networks import network_differences
from .operators import OPERATORS, draw

GRAPHS, NETWORKS = 200, 6
BATCH = 20

GPU = "cuda -arch=sm_80"
GPU_SEEDS = (
    0, 1, 2, 7, 8, 10, 12, 13, 14, 16, 21, 22, 23, 24, 32, 34, 39, 40, 43, 44, 48, 64, 67, 77, 78, 79, 83, 94, 115, 121,
    130, 168, 230, 280, 342, 354, 365, 470, 498, 532, 583, 710, 1193, 1196, 1339, 1394, 2368, 3348, 3509,
)  # fmt: skip
"""Of graphs in which every operator occurs."""

GPU_NETWORKS = (0, 3, 4, 5, 23)
GPU_BATCH = 10


@pytest.mark.parametrize("first", range(0, GRAPHS, BATCH))
def test_graphs_are_as_the_reference_has_them(first: int) -> None:
    found = {seed: differences(draw(seed)) for seed in range(first, first + BATCH)}
    assert not {seed: lines for seed, lines in found.items() if lines}


@pytest.mark.parametrize("first", range(0, len(GPU_SEEDS), GPU_BATCH))
@pytest.mark.usefixtures("gpu_compiler")
def test_graphs_on_a_gpu_are_as_the_reference_has_them(first: int) -> None:
    found = {seed: differences(draw(seed), GPU) for seed in GPU_SEEDS[first : first + GPU_BATCH]}
    assert not {seed: lines for seed, lines in found.items() if lines}


def test_every_operator_is_in_a_graph_on_a_gpu() -> None:
    nodes = {node.op_type for seed in GPU_SEEDS for node in draw(seed).model.graph.node}
    assert nodes >= OPERATORS.keys()


@pytest.mark.parametrize("seed", GPU_NETWORKS)
@pytest.mark.usefixtures("gpu_compiler")
def test_networks_on_a_gpu_are_as_their_kernels_are_defined(seed: int) -> None:
    assert not network_differences(seed, GPU)


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_networks_are_as_their_kernels_are_defined(seed: int) -> None:
    assert not network_differences(seed)


def test_every_operator_can_be_drawn() -> None:
    for name, (opset, define) in OPERATORS.items():
        draft = Draft(1)
        draft.opset = max(opset, 13)
        define(draft, name)
        assert any(node.op_type == name for node in draft.nodes) or name == "ConvTranspose"


def test_a_wrong_value_is_found_and_isolated() -> None:
    draft = Draft(0)
    hidden = draft.node("Relu", draft.input(np.array([-1.0, 2.0], np.float32)))
    draft.node("Abs", hidden, expected=[np.array([0.0, 3.0], np.float32)])
    graph = draft.finish()
    assert [line.split(" ")[0] for line in differences(graph)] == ["Abs"]
    assert [node.op_type for node in isolated(graph).model.graph.node] == ["Abs"]


def test_what_is_raised_is_a_difference() -> None:
    draft = Draft(0)
    draft.nodes.append(helper.make_node("Loop", [], ["y"]))
    draft.values["y"], draft.computed["y"] = np.zeros(1), "Loop"
    assert "Loop" in differences(draft.finish())[0]


@pytest.mark.parametrize(
    ("result", "expected", "found"),
    [
        (np.float32([1, np.nan]), np.float32([1, np.nan]), ""),
        (np.float32([1, np.nan]), np.float32([1, np.inf]), "1 of 2 differ, at [1]"),
        (np.float32([1.0001]), np.float32([1]), ""),
        (np.float32([1.001]), np.float32([1]), "1 of 1 differ, at [0]"),
        (np.int8([1, 2]), np.int8([1, 3]), "1 of 2 differ, at [1] 2 in place of 3"),
        (np.int8([1]), np.int32([1]), "int8[1] in place of int32[1]"),
    ],
)
def test_difference(result: np.ndarray, expected: np.ndarray, found: str) -> None:
    assert difference(result, expected).startswith(found) and bool(difference(result, expected)) == bool(
        found
    )


def test_graphs_are_valid() -> None:
    for seed in range(10):
        onnx.checker.check_model(draw(seed).model, full_check=False)
