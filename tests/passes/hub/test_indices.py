"""Inputs that pick rows of a table, and what they may be."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.frontends.graphs import model, node, value
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.indices import index_ranges
from tvmq.passes.prepare.prepare import Prepare

from ..modules import module

INT64 = 7
TABLE = np.zeros((10, 4), np.float32)


def imported(*nodes, constants=None) -> tvm.IRModule:
    graph = model(nodes, [value("ids", (2, 3), INT64)], ["y"], constants or {"table": TABLE})
    return Prepare()(load_onnx(graph))


def test_rows_may_be_counted_from_the_end_in_onnx() -> None:
    assert index_ranges(imported(node("Gather", ["table", "ids"], ["y"]))) == {"ids": (-10, 9)}


def test_what_only_reshapes_and_casts_is_looked_through() -> None:
    mod = imported(
        node("Cast", ["ids"], ["narrow"], to=6),
        node("Reshape", ["narrow", "shape"], ["flat"]),
        node("Gather", ["table", "flat"], ["y"]),
        constants={"table": TABLE, "shape": np.array([6])},
    )
    assert index_ranges(mod) == {"ids": (-10, 9)}


def test_of_several_tables_the_smallest_counts() -> None:
    mod = imported(
        node("Gather", ["table", "ids"], ["a"]),
        node("Gather", ["small", "ids"], ["b"]),
        node("Add", ["a", "b"], ["y"]),
        constants={"table": TABLE, "small": TABLE[:7]},
    )
    assert index_ranges(mod) == {"ids": (-7, 6)}


def test_indices_that_are_computed_are_not_limited() -> None:
    mod = imported(
        node("Add", ["ids", "one"], ["next"]),
        node("Gather", ["table", "next"], ["y"]),
        constants={"table": TABLE, "one": np.array(1)},
    )
    assert index_ranges(mod) == {}


@pytest.mark.parametrize(("mode", "expected"), [("fast", {"ids": (0, 9)}), ("clip", {}), ("wrap", {})])
def test_a_mode_that_has_a_meaning_for_others_limits_nothing(mode: str, expected: dict) -> None:
    def body(b, ids):
        return b.add(relax.op.take(relax.const(TABLE), ids, axis=0, mode=mode))

    assert index_ranges(module({"ids": (2, 3)}, body, dtype="int64")) == expected
