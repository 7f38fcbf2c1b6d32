"""What follows a block is the rest of the float model, up to the first block that is not taken."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.pairs import activation_pairs, float_form, weight_pairs
from tvmq.passes.improve.blocks import blocks_of, cut_out
from tvmq.passes.improve.outlook import Outlook
from tvmq.passes.improve.walk import first_states

from .test_blocks import mixed, network


def _outlook(mod, takes, samples=()):
    return Outlook(mod, blocks_of(mod), takes, first_states(mod, samples), compile_for_host)


def test_what_follows_gives_what_the_float_model_gives():
    mod, samples = network(), mixed(3)
    blocks = blocks_of(mod)
    outlook = _outlook(mod, lambda part: True, samples)
    ahead = outlook.behind(0)
    assert not weight_pairs(ahead.part) and not activation_pairs(ahead.part)
    (name,) = [param.name for param in ahead.part["main"].params]
    assert name == blocks[0].outputs[0].name
    first = compile_for_host(float_form(cut_out(mod, blocks[0].inputs, blocks[0].outputs)))
    behind = compile_for_host(ahead.part)
    found = list(ahead.results)
    assert len(found) == len(samples)
    for sample, results in zip(samples, found, strict=True):
        expected = behind({name: first(sample)[0]})
        assert len(results) == len(expected) == len(blocks) - 1
        for one, other in zip(results, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    # Kept: the samples do not run again for the next block.
    (last,) = zip(*outlook.behind(1).results, strict=True)
    np.testing.assert_array_equal(last, [results[-1] for results in found])
    assert outlook.behind(len(blocks) - 1) is None


@pytest.mark.parametrize(("refused", "counts"), [(1, [0, 1, 0]), (2, [1, 0, 0]), (0, [2, 1, 0])])
def test_up_to_a_block_that_is_not_taken(refused, counts):
    mod = network()
    names = [
        [pair.name for pair in weight_pairs(mod) if pair.dequantize in b.members] for b in blocks_of(mod)
    ]
    outlook = _outlook(mod, lambda part: [pair.name for pair in weight_pairs(part)] != names[refused])
    found = [outlook.behind(place) for place in range(3)]
    assert [0 if ahead is None else len(ahead.part["main"].body.body.ty.fields) for ahead in found] == counts
