"""Branches and loops that are decided at import compute what ONNX's evaluator does; others are refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.control_flow import MOST_ROUNDS
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.layers import get_layers

from ..graphs import body, model, node, run, value

X = np.array([[1.0, -2.0, 3.0], [4.0, -5.0, 6.0]], np.float32)
BOOL, INT64 = TensorProto.BOOL, TensorProto.INT64


def check(proto, *expected):
    """Compare with sums, negations and products of few small integers, which are exact."""
    for result, wanted in zip(run(load_onnx(proto), X), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def refused(proto, **arguments):
    with pytest.raises(TvmqError) as caught:
        load_onnx(proto, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def branches():
    return {
        "then_branch": body(
            [node("Add", ["x", "c"], ["t"]), node("Abs", ["t"], ["r"])], [], ["r"], c=np.float32(1)
        ),
        "else_branch": body([node("Neg", ["x"], ["r"], name="minus")], [], ["r"]),
    }


@pytest.mark.parametrize("rank", [2, 3])
def test_a_branch_that_shapes_decide(rank):
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Size", ["s"], ["n"]),
        node("Equal", ["n", "rank"], ["same"]),
        node("If", ["same"], ["y"], **branches()),
    ]
    proto = model(nodes, [value("x", X.shape)], ["y"], {"rank": np.array(rank)})
    check(proto, np.abs(X + 1) if rank == 2 else -X)
    taken = {"Add", "Abs"} if rank == 2 else {"Neg"}
    assert {layer.op for layer in get_layers(load_onnx(proto))} == taken | {"Shape", "Size", "Equal", "If"}


def by_input():
    nodes = [node("Equal", ["sr", "rate"], ["c"]), node("If", ["c"], ["y"], name="which", **branches())]
    return model(nodes, [value("x", X.shape), value("sr", (), INT64)], ["y"], {"rate": np.array(16000)})


def test_a_branch_that_an_input_decides():
    message = refused(by_input())
    assert message.startswith(
        "ONNX node 'which' (If) cannot be imported: a branch is chosen by the input 'sr' "
    )
    assert "bind it to a value (--bind sr=VALUE) or end the model before (--outputs)" in message
    np.testing.assert_array_equal(run(load_onnx(by_input(), bind={"sr": 8000}), X)[0], -X)
    np.testing.assert_array_equal(run(load_onnx(by_input(), bind={"sr": 16000}), X)[0], np.abs(X + 1))


def test_a_branch_in_a_branch():
    inner = body([node("If", ["flag"], ["r"], **branches())], [], ["r"])
    other = body([node("Relu", ["x"], ["r"])], [], ["r"])
    nodes = [node("If", ["flag"], ["y"], then_branch=inner, else_branch=other)]
    check(model(nodes, [value("x", X.shape)], ["y"], {"flag": np.array(True)}), np.abs(X + 1))


def test_an_operator_of_the_other_branch_is_not_asked_for():
    bad = body([node("Foo", ["x"], ["r"])], [], ["r"])
    nodes = [node("If", ["flag"], ["y"], then_branch=branches()["then_branch"], else_branch=bad)]
    inputs = [value("x", X.shape)]
    load_onnx(model(nodes, inputs, ["y"], {"flag": np.array(True)}))
    message = refused(model(nodes, inputs, ["y"], {"flag": np.array(False)}))
    assert message == "the model has operators that cannot be imported: Foo (node y/r)"


def adding(*nodes):
    """Return s, i -> s + x, with the round's number added too, and each sum."""
    return body(
        [
            node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            node("Add", ["s", "x"], ["t"]),
            node("Add", ["t", "f"], ["next"]),
            node("Neg", ["next"], ["each"]),
            *(nodes or [node("Identity", ["go"], ["on"])]),
        ],
        [value("i", (), INT64), value("go", (), BOOL), value("s")],
        ["on", "next", "each"],
        two=np.array(2),
    )


def loop(trips="count", condition="", given=adding()):  # noqa: B008 (read only)
    return node("Loop", [trips, condition, "x"], ["last", "all"], name="rounds", body=given)


def summed(count):
    """Return the last sum of so many rounds, and all of them, negative."""
    sums = [X * (index + 2) + sum(range(index + 1)) for index in range(count)]
    return sums[-1], -np.stack(sums)


@pytest.mark.parametrize("count", [1, 3])
def test_rounds_that_are_counted(count):
    proto = model([loop()], [value("x", X.shape)], ["last", "all"], {"count": np.array(count)})
    check(proto, *summed(count))


def test_rounds_that_a_condition_ends():
    given = adding(node("Less", ["i", "two"], ["on"]))
    proto = model([loop("", "yes", given)], [value("x", X.shape)], ["last", "all"], {"yes": np.array(True)})
    check(proto, *summed(3))  # the round that finds the condition false is the last


@pytest.mark.parametrize(
    ("made", "constants", "message"),
    [
        (loop("z"), {}, "the number of rounds is decided by the input 'z' while the model runs; bind it"),
        (
            loop("count", "z"),
            {"count": np.array(2)},
            "whether there is a round at all is decided by the input 'z'",
        ),
        (loop(), {"count": np.array(MOST_ROUNDS + 1)}, f"more than {MOST_ROUNDS} rounds"),
        (loop(), {"count": np.array(0)}, "'all' has a value of each round, and there is no round"),
        (
            loop(
                "count", "", adding(node("ReduceSum", ["next"], ["a"]), node("Cast", ["a"], ["on"], to=BOOL))
            ),
            {"count": np.array(2)},
            "the number of rounds is decided only while the model runs",
        ),
    ],
)
def test_rounds_that_are_refused(made, constants, message):
    small = X[:1, :1].reshape(())
    kind = BOOL if made.input[1] == "z" else INT64
    proto = model([made], [value("x", small.shape), value("z", (), kind)], ["all"], constants)
    text = refused(proto)
    assert text.startswith("ONNX node 'rounds' (Loop) cannot be imported: ") and message in text


@pytest.mark.parametrize("direction", [0, 1])
def test_scan(direction):
    step = body(
        [node("Add", ["s", "e"], ["next"]), node("Mul", ["next", "e"], ["each"])],
        [value("s"), value("e")],
        ["next", "each"],
    )
    scan = node(
        "Scan",
        ["start", "x"],
        ["last", "all"],
        body=step,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1],
        scan_input_directions=[direction],
        scan_output_directions=[direction],
    )
    walked = X[:, ::-1] if direction else X
    sums = np.cumsum(walked, axis=1)
    products = sums * walked
    proto = model([scan], [value("x", X.shape)], ["last", "all"], {"start": np.zeros(2, np.float32)})
    check(proto, sums[:, -1], products[:, ::-1] if direction else products)
