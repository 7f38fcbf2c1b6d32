"""Shapes from the file and the user; every contradiction is said in one line."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.graph import real_inputs
from tvmq.frontends.onnx.shapes import declared_shape, shapes_of_inputs
from tvmq.ranges import Range


def static_shapes(graph, given):
    return shapes_of_inputs(graph, given).at({})


def graph(**shapes):
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    return helper.make_graph([], "graph", inputs, [])


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ((1, 3), None, (1, 3)),
        ((1, 3), (1, 3), (1, 3)),
        (("N", 3), (4, 3), (4, 3)),
        ((0, 3), (4, 3), (4, 3)),  # some exporters write 0 for unknown
        ((None, 3), (4, 3), (4, 3)),
        (None, (4, 3), (4, 3)),
        ((), None, ()),
    ],
)
def test_static(declared, given, expected):
    assert static_shapes(graph(x=declared), None if given is None else {"x": given}) == {"x": expected}


@pytest.mark.parametrize(
    ("shapes", "given", "message"),
    [
        (
            {"x": ("N", 3, 224, 224)},
            None,
            "shapes must be static, and input 'x' has the shape [N,3,224,224]: give them, such as "
            '--input-shapes "x:[1,3,224,224]"',
        ),
        (
            {"x": ("N", 3), "y": (2, 3), "z": None},
            None,
            "shapes must be static, and input 'x' has the shape [N,3], 'z' has no shape at all: give them, such "
            'as --input-shapes "x:[1,3],z:[...]"',
        ),
        (
            {"a\nb": ("N", 3)},
            None,
            "shapes must be static, and input 'a\\nb' has the shape [N,3]: give them, such as "
            '--input-shapes "a\\nb:[1,3]"',
        ),
        ({"x": (1, 3)}, {"xx": (1, 3)}, "unknown input 'xx'; did you mean 'x'?"),
        (
            {"x": (1, 3)},
            {"x": (1, 3, 2)},
            "input 'x' is given the shape [1,3,2] of rank 3; the model has [1,3] of rank 2",
        ),
        ({"x": ("N", 3)}, {"x": (1, 4)}, "input 'x' is given the shape [1,4]; the model fixes [N,3]"),
        (
            {"x": ("N", 3)},
            {"x": (0, 3)},
            "input 'x' is given the shape [0,3]: every extent must be at least 1",
        ),
        (
            {"x": ("N", 3), "y": ("N",)},
            {"x": (1, 3), "y": (2,)},
            "dimension 'N' is 1 in input 'x' and 2 in input 'y'; the model has one value for it",
        ),
    ],
)
def test_refused(shapes, given, message):
    with pytest.raises(TvmqError) as caught:
        static_shapes(graph(**shapes), given)
    assert str(caught.value) == message


TOKENS = {"ids": ("N", "S"), "mask": ("N", "S")}
OPEN = Range(1, 512)


@pytest.mark.parametrize(
    ("declared", "given", "shapes", "ranges"),
    [
        (TOKENS, {"N": 1, "S": "1..512"}, {"ids": (1, "S"), "mask": (1, "S")}, {"S": OPEN}),
        (TOKENS, {"N": (1, 8), "S": 4}, {"ids": ("N", 4), "mask": ("N", 4)}, {"N": Range(1, 8)}),
        (TOKENS, {"ids": [1, OPEN], "S": OPEN, "N": 1}, {"ids": (1, "S"), "mask": (1, "S")}, {"S": OPEN}),
        # Without names in the file: those of one axis and range are one.
        (
            {"a": (None, None), "b": (None, None)},
            {"a": [1, OPEN], "b": [1, OPEN]},
            {"a": (1, "dim1"), "b": (1, "dim1")},
            {"dim1": OPEN},
        ),
        (
            {"a": (None,), "b": (None,)},
            {"a": ["1..512"], "b": ["1..8"]},
            {"a": ("dim0",), "b": ("dim0_1",)},
            {"dim0": OPEN, "dim0_1": Range(1, 8)},
        ),
        ({"a": (None,)}, {"a": ["L=1..512"]}, {"a": ("L",)}, {"L": Range(1, 512, "L")}),
        ({"a": ("batch size",)}, {"batch size": OPEN}, {"a": ("batch_size",)}, {"batch_size": OPEN}),
        (TOKENS, {"N": "3..3", "S": 2}, {"ids": (3, 2), "mask": (3, 2)}, {}),
    ],
)
def test_open(declared, given, shapes, ranges):
    found = shapes_of_inputs(graph(**declared), given)
    assert (found.shapes, found.ranges) == (shapes, ranges)


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        (TOKENS, {"N": 1, "L": "1..512"}, "unknown dimension 'L'"),
        (
            TOKENS,
            {"N": 1, "S": "one"},
            "'S' is given the extent 'one'; expected a number, or a range such as '1..512'",
        ),
        (
            TOKENS,
            {"ids": [1, OPEN], "mask": [1, 8]},
            "dimension 'S' is 1..512 in input 'ids' and 8 in input 'mask'",
        ),
        ({"a": (4,)}, {"a": [OPEN]}, "input 'a' is given the shape [1..512]; the model fixes [4]"),
        (
            {"a": (None, None)},
            {"a": ["L=1..4", "L=1..8"]},
            "dimension 'L' is given two ranges, 1..4 and 1..8; it has one",
        ),
    ],
)
def test_open_refused(declared, given, message):
    with pytest.raises(TvmqError) as caught:
        shapes_of_inputs(graph(**declared), given)
    assert str(caught.value).startswith(message)


def test_inputs_that_are_no_tensors():
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, (1, 2))
    with pytest.raises(TvmqError, match="input 's' is no tensor but a sequence_type"):
        static_shapes(helper.make_graph([], "graph", [sequence], []), None)


def test_initializers_are_no_inputs():
    made = graph(x=(1,), w=(2,))
    made.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, (2,), [0.0, 1.0]))
    assert [value.name for value in real_inputs(made)] == ["x"]


def test_declared_shape():
    assert declared_shape(graph(x=("N", 3)).input[0]) == ("N", 3)
    assert declared_shape(graph(x=(None, 3)).input[0]) == ("?", 3)
    assert declared_shape(graph(x=None).input[0]) is None
