"""A subgraph's nodes outside: its own values renamed, those from outside not."""

from __future__ import annotations

from tvmq.frontends.onnx.inline import inline

from ..graphs import body, node, value


def test_names():
    graph = body(
        [node("Add", ["x", "c"], ["t"]), node("Mul", ["t", "i"], ["r"])], [value("i")], ["r", "x"], c=1.0
    )
    inlined = inline(graph, "loop/0/", {"i": "index"})
    assert [(list(n.input), list(n.output)) for n in inlined.nodes] == [
        (["x", "loop/0/c"], ["loop/0/t"]),
        (["loop/0/t", "index"], ["loop/0/r"]),
    ]
    assert [tensor.name for tensor in inlined.initializers] == ["loop/0/c"]
    assert inlined.outputs == ["loop/0/r", "x"]
    assert graph.node[0].output[0] == "t"  # the file's own graph stays


def test_nested_subgraphs_see_the_new_names():
    inner = body([node("Add", ["t", "u"], ["u2"])], [], ["u2", "t"], u=2.0)
    graph = body([node("Relu", ["x"], ["t"]), node("If", ["x"], ["r"], then_branch=inner)], [], ["r"])
    (nested,) = [attribute.g for attribute in inline(graph, "p/").nodes[1].attribute]
    assert list(nested.node[0].input) == ["p/t", "u"]
    assert [output.name for output in nested.output] == ["u2", "p/t"]
