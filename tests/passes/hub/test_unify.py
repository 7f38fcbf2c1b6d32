"""Static modules of several sizes become one that gives each of them back."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.hub.graph import (
    bindings_of,
    extents_of,
    input_specs,
    layer_name,
    op_name,
    shape_of,
    to_numpy,
    with_layer_name,
)
from tvmq.passes.hub.layers import Layer, with_layers
from tvmq.passes.hub.open_dims import at, greatest_shape, points_of, ranges_of, top_of, variables_of
from tvmq.passes.hub.unify import over_sizes
from tvmq.ranges import Range

RANGES = {"N": Range(1, 4), "S": Range(2, 100)}
TABLE = np.arange(800, dtype=np.float32).reshape(100, 8)


def module(sizes, change=lambda x, sizes: x):
    """x [N, S, 8] -> reshape, sum with the first S rows of a table, and ``change``; the nodes have names."""
    n, s = sizes["N"], sizes["S"]
    x = relax.Var("x", relax.TensorType((n, s, 8), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            total = builder.emit(with_layer_name(relax.op.add(x, relax.const(TABLE[:s])), "sum"))
            flat = builder.emit(with_layer_name(relax.op.reshape(total, (n * s, 8)), "flat"))
            output = builder.emit_output(with_layer_name(change(flat, sizes), "change"))
        builder.emit_func_output(output)
    return with_layers(builder.get(), [Layer("change", "Op")])


def relu(x, sizes):
    return relax.op.nn.relu(x)


def test_structure():
    found = over_sizes(lambda sizes: module(sizes, relu), RANGES)
    assert ranges_of(found).keys() == RANGES.keys()
    assert list(variables_of(found)) == ["N", "S"]
    assert extents_of(found["main"].params[0]) == ("N", "S", 8)
    kinds = [op_name(binding.value) for binding in bindings_of(found)]
    assert kinds[:4] == ["relax.strided_slice", "relax.add", "relax.reshape", "relax.nn.relu"]
    assert [layer_name(binding.value) for binding in bindings_of(found)][1:4] == ["sum", "flat", "change"]
    assert extents_of(bindings_of(found)[2].var) == ("N * S", 8)
    assert greatest_shape(found, bindings_of(found)[2].var.ty) == [400, 8]
    assert input_specs(found)["x"][0] == (Range(1, 4, "N"), Range(2, 100, "S"), 8)
    with pytest.raises(TvmqError, match="dimension 'N' is open, and here it must have one size"):
        shape_of(found["main"].params[0])


@pytest.mark.parametrize("sizes", [{"N": 1, "S": 2}, {"N": 3, "S": 64}, {"N": 4, "S": 100}])
def test_each_size_comes_back(sizes):
    found = at(over_sizes(lambda own: module(own, relu), RANGES), sizes)
    assert not ranges_of(found)
    expected = module(sizes, relu)
    for one, other in zip(bindings_of(found), bindings_of(expected), strict=False):
        assert (op_name(one.value), layer_name(one.value)) == (op_name(other.value), layer_name(other.value))
        assert shape_of(one.var) == shape_of(other.var)
    np.testing.assert_array_equal(to_numpy(bindings_of(found)[0].value.args[1]), TABLE[: sizes["S"]])
    assert shape_of(found["main"].body.body) == shape_of(expected["main"].body.body)


def test_points_have_all_at_the_greatest_first():
    points = points_of(RANGES)
    assert points[0] == {"N": 8, "S": 100}  # few sizes tell too little apart
    assert all(sum(point[name] != points[0][name] for name in point) <= 2 for point in points)
    assert top_of(RANGES) == {"N": 4, "S": 100}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, sizes: relax.op.multiply(x, relax.const(np.float32(sizes["S"]))),
            r"a constant at node 'change' \(Op\) depends on their sizes",
        ),
        (
            lambda x, sizes: (
                relax.op.reshape(x, (sizes["N"] * sizes["S"] * 4, 2))
                if sizes["S"] > 50
                else relax.op.nn.relu(x)
            ),
            r"relax\.\S+ at node 'change' \(Op\) depends on their sizes",
        ),
        (
            lambda x, sizes: relax.op.sum(x, axis=[0 if sizes["S"] > 50 else 1], keepdims=True),
            r"relax\.sum at node 'change' \(Op\) depends on their sizes",
        ),
        (
            lambda x, sizes: relax.op.broadcast_to(
                relax.op.sum(x, axis=[0], keepdims=True), (sizes["S"] ** 2 + 1, 8)
            ),
            "an extent is 10001 for N = 8, S = 100",
        ),
    ],
)
def test_what_depends_on_sizes_is_named(change, message):
    def changed(x, sizes):
        return change(x, sizes)

    with pytest.raises(TvmqError, match=message):
        over_sizes(lambda sizes: module(sizes, changed), RANGES)
