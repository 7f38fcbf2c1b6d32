"""What a message proposes to end a model at, before postprocessing that cannot be compiled."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.cut_points import cut_points, undecided
from tvmq.frontends.onnx.graph import graph_of
from tvmq.frontends.onnx.load import load_onnx

from ..graphs import model, node, value

CONSTANTS = {"most": np.array([5]), "iou": np.array([0.5], np.float32), "zero": np.array(0)}


def detector():
    """A head whose boxes and scores go into NonMaxSuppression, and an output of its own."""
    return model(
        [
            node("Relu", ["b"], ["boxes"], name="head"),
            node("Sigmoid", ["s"], ["scores"]),
            node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["picked"], name="nms"),
            node("Gather", ["picked", "zero"], ["y"], axis=1),
            node("Neg", ["boxes"], ["other"]),
        ],
        [value("b", (1, 6, 4)), value("s", (1, 1, 6))],
        ["y", "other"],
        CONSTANTS,
    )


def test_the_operator_that_is_at_fault_is_named_with_the_way_out():
    with pytest.raises(TvmqError) as caught:
        load_onnx(detector())
    assert str(caught.value) == (
        "ONNX node 'nms' (NonMaxSuppression) gives a result whose shape depends on its data; shapes must be static; to "
        "leave such postprocessing to the application, end the model before it: --outputs boxes,scores,other"
    )
    mod = load_onnx(detector(), outputs=["boxes", "scores", "other"])
    assert len(mod["main"].ret_ty.fields) == 3


def test_many_values_that_are_only_selected_become_what_they_come_from():
    classes = 8
    nodes = [node("Softmax", ["x"], ["p"])]
    for index in range(classes):
        nodes += [
            node("Gather", ["p", f"i{index}"], [f"g{index}"], axis=1),
            node("Greater", [f"g{index}", "half"], [f"over{index}"]),
            node("NonZero", [f"over{index}"], [f"y{index}"]),
        ]
    constants = {f"i{index}": np.array(index) for index in range(classes)} | {"half": np.float32(0.5)}
    proto = model(nodes, [value("x", (6, classes))], [f"y{index}" for index in range(classes)], constants)
    graph = graph_of(proto.graph)
    assert cut_points(graph, graph.node[3]) == ["p"]


def test_undecided_without_an_input():
    graph = graph_of(detector().graph)
    assert undecided(graph, "inner/value").startswith("only while the model runs")
    assert undecided(graph, "picked").startswith(
        "by the inputs 'b', 's' while the model runs; bind it to a value"
    )
