"""Names and patterns of the user's layers."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.annotate.selection import select
from tvmq.passes.hub.layers import Layer

LAYERS = [Layer("block/conv1", "Conv"), Layer("block/relu", "Relu"), Layer("head[0]", "Gemm")]


def test_nothing_is_excluded_by_default():
    selection = select(LAYERS, QuantizeOptions())
    assert (selection.skipped, selection.unwanted) == ({}, frozenset())


@pytest.mark.parametrize(
    ("options", "skipped"),
    [
        ({"skip_layers": ("block/conv1",)}, {"block/conv1": "skipped by layer 'block/conv1'"}),
        (
            {"skip_layers": ("block/*",)},
            dict.fromkeys(["block/conv1", "block/relu"], "skipped by layer 'block/*'"),
        ),
        ({"skip_layers": ("head[0]",)}, {"head[0]": "skipped by layer 'head[0]'"}),  # a name, not a pattern
        ({"skip_ops": ("Con?",)}, {"block/conv1": "skipped by operator type 'Con?'"}),
    ],
)
def test_skipped(options, skipped):
    assert select(LAYERS, QuantizeOptions(**options)).skipped == skipped


@pytest.mark.parametrize(
    ("wanted", "unwanted"),
    [
        (("Conv",), {"block/relu", "head[0]"}),
        (("*conv*", "head[0]"), {"block/relu"}),
    ],
)
def test_unwanted(wanted, unwanted):
    assert select(LAYERS, QuantizeOptions(quantize_only=wanted)).unwanted == unwanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip_layers": ("block/conv",)}, "unknown layer 'block/conv'; did you mean 'block/conv1'"),
        ({"skip_layers": ("nothing*",)}, "unknown layer 'nothing*'"),
        ({"skip_ops": ("Conv2D",)}, "unknown operator type 'Conv2D'; did you mean 'Conv'"),
        ({"quantize_only": ("Softmx",)}, "unknown layer or operator type 'Softmx'"),
        ({"skip_ops": ("conv",)}, "unknown operator type 'conv'"),
    ],
)
def test_what_matches_nothing_is_an_error(options, message):
    with pytest.raises(TvmqError) as caught:
        select(LAYERS, QuantizeOptions(**options))
    assert message in str(caught.value) and "\n" not in str(caught.value)
