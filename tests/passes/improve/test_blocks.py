"""Where a network is cut, and that its blocks one behind the other are the network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import bindings_of, layer_name, rebuild
from tvmq.passes.hub.pairs import weight_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.blocks import blocks_of, cut_out, sections_of

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)


def _conv(b, x, out, into, name, groups=1):
    taps = 3 if groups > 1 else 1
    weight = const(out, into // groups, taps, taps)
    return b.add(relax.op.nn.conv2d(x, weight, padding=taps // 2, groups=groups), name)


def _inverted_residual(b, x, name):
    wide = b.add(relax.op.clip(_conv(b, x, 12, 4, f"{name}.expand"), 0, 6), f"{name}.relu1")
    deep = b.add(relax.op.clip(_conv(b, wide, 12, 12, f"{name}.depth", 12), 0, 6), f"{name}.relu2")
    return b.add(relax.op.add(x, _conv(b, deep, 4, 12, f"{name}.project")), f"{name}.sum")


def _network(b, x):
    for place in range(2):
        x = _inverted_residual(b, x, f"block{place}")
    return b.add(relax.op.nn.relu(_conv(b, x, 8, 4, "head")), "relu")


def mixed(count: int = 8, seed: int = 0):
    """Return samples with channels that go together, as those of real activations do."""
    mix = np.eye(4) + 0.8
    arrays = (random(*SHAPE, seed=seed + place) for place in range(count))
    return [{"x": np.einsum("ij,njhw->nihw", mix, array).astype("float32")} for array in arrays]


ALL_OF_4_BITS = dataclasses.replace(get_scheme("w4a8"), depthwise_bits=None)


def network():
    return Calibrate(mixed(8))(Annotate(ALL_OF_4_BITS)(module({"x": SHAPE}, _network)))


def test_a_block_is_an_inverted_residual():
    mod = network()
    names = {binding.var: layer_name(binding.value) for binding in bindings_of(mod)}
    blocks = blocks_of(mod)
    assert [var.name for var in blocks[0].inputs] == ["x"]
    # Behind the last cut comes what is left: the model's result is no call of a layer.
    assert [[names[var] for var in block.outputs] for block in blocks[:-1]] == [
        ["block0.sum"],
        ["block1.sum"],
    ]
    assert blocks[-1].outputs == (mod["main"].body.body,)
    weights = [pair.name for pair in weight_pairs(mod)]
    inside = [
        [pair.name for pair in weight_pairs(mod) if pair.dequantize in block.members] for block in blocks
    ]
    assert sum(inside, []) == weights
    assert inside[0] == ["block0.expand", "block0.depth", "block0.project"]


@pytest.mark.parametrize(
    ("layers", "alone", "expected"),
    [
        (1, (), [3, 3, 3, 1]),
        (3, (), [3, 3, 4]),  # the last one has too few
        (4, (), [6, 4]),
        (6, (), [10]),
        (20, (), [10]),
        (6, (1,), [3, 3, 4]),
        (6, (0,), [3, 7]),
        (6, (3,), [9, 1]),
    ],
)
def test_sections(layers, alone, expected):
    def body(b, x):
        for place in range(3):
            x = _inverted_residual(b, x, f"block{place}")
        return b.add(relax.op.nn.relu(_conv(b, x, 8, 4, "head")), "relu")

    mod = Annotate(get_scheme("w4a8"))(module({"x": SHAPE}, body))
    blocks = blocks_of(mod)
    sections = sections_of(mod, layers, lambda block: blocks.index(block) not in alone)
    inside = [[pair for pair in weight_pairs(mod) if pair.dequantize in part.members] for part in sections]
    assert [*map(len, inside)] == expected
    assert [part.outputs for part in sections[:-1]] == [part.inputs for part in sections[1:]]
    assert sections[0].inputs == blocks[0].inputs and sections[-1].outputs == blocks[-1].outputs


def test_a_result_ends_in_the_block_that_gives_it():
    def body(b, x):
        side = _conv(b, x, 2, 4, "side")
        return side, _inverted_residual(b, _inverted_residual(b, x, "block0"), "block1")

    mod = Annotate(get_scheme("int8"))(module({"x": SHAPE}, body))
    mod = rebuild(mod, lambda builder, var, value: value)  # the tuple of results has a name now
    names = {binding.var: layer_name(binding.value) for binding in bindings_of(mod)}
    first, last = blocks_of(mod)
    assert [[names[var] for var in vars] for vars in (first.results, first.onward)] == [
        ["side"],
        ["block0.sum"],
    ]
    assert first.outputs == (*first.results, *first.onward) and last.inputs == first.onward
    assert [names[var] for var in last.outputs] == ["block1.sum"] and last.onward == ()


def test_blocks_in_their_order_are_the_network():
    mod, samples = network(), mixed(1)
    whole = rebuild(mod, lambda builder, var, value: value, result=relax.Tuple([mod["main"].body.body]))
    expected = compile_for_host(whole)(samples[0])[0]
    state = samples[0]
    for block in blocks_of(mod):
        run = compile_for_host(cut_out(mod, block.inputs, block.outputs))
        state = dict(zip([var.name for var in block.outputs], run(state), strict=True))
    np.testing.assert_array_equal(next(iter(state.values())), expected)


@pytest.mark.parametrize("inputs", [("x",), ("x", "y")])
def test_without_a_narrow_place_the_network_is_one_block(inputs):
    def body(b, x, y=None):
        first = b.add(relax.op.nn.relu(_conv(b, x, 4, 4, "c1")), "r1")
        other = _conv(b, x if y is None else y, 4, 4, "c2")
        return b.add(relax.op.add(first, other), "sum")

    mod = Annotate(get_scheme("int8"))(module(dict.fromkeys(inputs, SHAPE), body))
    assert [tuple(var.name for var in block.inputs) for block in blocks_of(mod)] == [inputs]
