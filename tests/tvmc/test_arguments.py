"""Values of flags."""

from __future__ import annotations

import argparse

import pytest
from tvm.target import TargetKind

from tvmq.ranges import Range
from tvmq.tvmc import arguments
from tvmq.tvmc.target_flags import ATTRIBUTES


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x:[1,3,224,224]", {"x": (1, 3, 224, 224)}),
        ("x:[1,3,224,224] y:[1,2]", {"x": (1, 3, 224, 224), "y": (1, 2)}),
        ("x:[1, 3],y : [ 2 ]", {"x": (1, 3), "y": (2,)}),
        ("in/x:0:[1]", {"in/x:0": (1,)}),
        ("my input:[1] 0:[2]", {"my input": (1,), "0": (2,)}),
        ("scalar:[]", {"scalar": ()}),
        ("x:[1,1..512] y:[S=2..8]", {"x": (1, Range(1, 512)), "y": (Range(2, 8, "S"),)}),
        ("N=1,S=1..512", {"N": 1, "S": Range(1, 512)}),
        ("N=4 x:[1,2]", {"N": 4, "x": (1, 2)}),
    ],
)
def test_input_shapes(text, shapes):
    assert arguments.input_shapes(text) == shapes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no shapes; they look like"),
        ("x", "must look like 'x:"),
        ("x:1,3", "must look like 'x:"),
        ("x:[1,3", "must look like 'x:"),
        (":[1]", "must look like 'x:"),
        ("x:[1,3] and y", "must look like 'x:"),
        ("x:[1,N]", "the shape of 'x' must be of positive numbers, or ranges such as 1..512, got 'N'"),
        ("x:[1,-1]", "the shape of 'x' must be of positive numbers, or ranges such as 1..512, got '-1'"),
        ("x:[0]", "the shape of 'x' must be of positive numbers, or ranges such as 1..512, got '0'"),
        ("x:[1,]", "the shape of 'x' must be of positive numbers, or ranges such as 1..512, got ''"),
        ("x:[1] x:[2]", "gives 'x' twice"),
        ("x:[4..2]", r"the range 4\.\.2 of a dimension must go from 1"),
        ("N=1.5", "the shape of 'N' must be of positive numbers"),
        ("N=1,N=2", "gives 'N' twice"),
    ],
)
def test_bad_input_shapes(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        arguments.input_shapes(text)


def test_input_dtypes():
    assert arguments.input_dtypes("x:float32, in/x:0:int64") == {"x": "float32", "in/x:0": "int64"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no dtypes; they look like 'x:float32 ids:int64'"),
        ("float32", "must look like 'x:float32 ids:int64'"),
        (":float32", "must look like"),
        ("x:", "must look like"),
        ("x:int8 x:int8", "gives 'x' twice"),
    ],
)
def test_bad_input_dtypes(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        arguments.input_dtypes(text)


def test_sizes():
    assert arguments.sizes("N=1,S=128") == {"N": 1, "S": 128}
    for text in ("N", "N=x", "=1", "N=1,N=2"):
        with pytest.raises(argparse.ArgumentTypeError, match="must look like 'N=1,S=128'"):
            arguments.sizes(text)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a.b=true", ("a.b", True)),
        ("a=3", ("a", 3)),
        ('a={"b": [1]}', ("a", {"b": [1]})),
        ("a=on=off", ("a", "on=off")),
        ("a=", ("a", "")),
    ],
)
def test_pass_config(text, pair):
    assert arguments.pass_config(text) == pair


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_bad_pass_config(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must look like name=value"):
        arguments.pass_config(text)


def test_lists():
    assert arguments.names("a, b/c ,,d e") == ["a", "b/c", "d e"]
    assert arguments.positive("7") == 7


def test_a_number_that_is_not_positive():
    with pytest.raises(argparse.ArgumentTypeError, match="'0' must be a whole number of at least 1"):
        arguments.positive("0")


def test_counts():
    assert arguments.count("0") == 0
    with pytest.raises(argparse.ArgumentTypeError, match="'-1' must be a whole number of at least 0"):
        arguments.count("-1")


def test_addresses():
    assert arguments.host_and_port("192.168.0.100:9999") == ("192.168.0.100", 9999)
    assert arguments.host_and_port("board.local") == ("board.local", 9090)
    for text in ("", ":1", "a:", "a:0", "a:65536", "a:b"):
        with pytest.raises(argparse.ArgumentTypeError, match="must look like host:9190"):
            arguments.host_and_port(text)


def test_target_flags_are_those_of_tvm():
    """The table stands in for TVM's own list, which takes seconds to ask for."""
    internal = {"kind", "tag", "host", "from_device", "target_device_type"}
    for kind, attributes in ATTRIBUTES.items():
        known = {str(name) for name in TargetKind.options_from_name(kind)} - internal
        # Of a GPU the architecture says everything.
        assert set(attributes) == ({"arch"} if kind == "cuda" else known) and set(attributes) <= known


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sr=16000", ("sr", 16000)),
        ("x=0.5", ("x", 0.5)),
        ("flag=true", ("flag", True)),
        ("x=[1, 2]", ("x", [1, 2])),
        ("a=b=3", ("a=b", 3)),
    ],
)
def test_binding(text, expected):
    assert arguments.binding(text) == expected


@pytest.mark.parametrize("text", ["", "sr", "sr=", "=1", "sr=text", 'sr="text"', "sr={}", "sr=null"])
def test_bindings_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must look like name=16000"):
        arguments.binding(text)
