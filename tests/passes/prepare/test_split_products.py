"""Products are split where each reader takes columns of its own, and left whole where one takes anything else."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import shape_of
from tvmq.passes.prepare.split_products import SplitProducts

from ..modules import assert_close, calls, const, module, operators

S, B, H, D = 5, 2, 3, 4
WIDTH = H * D


def number(value):
    return relax.const(np.int64(value), "int64")


def product(b, x, width=3 * WIDTH):
    return b.add(relax.op.add(b.add(relax.op.matmul(x, const(8, width))), const(width, seed=2)))


def ends(b, pieces):
    """Read each piece by itself."""
    return relax.Tuple([b.add(relax.op.nn.relu(piece)) for piece in pieces])


def by_take(b, x):
    """As PyTorch's attention with one projection: the three side by side become the first axis."""
    apart = b.add(relax.op.reshape(product(b, x), (B, S, 3, WIDTH)))
    first = b.add(
        relax.op.squeeze(
            b.add(relax.op.permute_dims(b.add(relax.op.expand_dims(apart, 0)), [3, 1, 2, 0, 4])), [3]
        )
    )
    return ends(b, [b.add(relax.op.take(first, number(place), 0)) for place in range(3)])


def by_take_of_heads(b, x):
    apart = b.add(relax.op.reshape(product(b, x), (B, S, 3, H, D)))
    first = b.add(relax.op.permute_dims(apart, [2, 0, 3, 1, 4]))
    return ends(b, [b.add(relax.op.take(first, number(place), 0)) for place in range(3)])


def by_split(b, x):
    items = b.add(relax.op.split(product(b, x), 3, -1))
    return ends(b, [b.add(relax.TupleGetItem(items, place)) for place in range(3)])


def by_uneven_split(b, x):
    items = b.add(relax.op.split(product(b, x), [4, 12], 2))
    return ends(b, [b.add(relax.TupleGetItem(items, place)) for place in range(3)])


def by_slices(b, x):
    whole = b.add(relax.op.matmul(x, const(8, 10)))
    slices = [relax.op.strided_slice(whole, [2], [start], [stop]) for start, stop in ((0, 4), (4, 9))]
    return ends(b, [b.add(piece) for piece in slices])


def heads_outermost(b, x):
    """Each head has its query, key and value side by side: columns that lie apart."""
    apart = b.add(relax.op.reshape(product(b, x), (B, S, H, 3 * D)))
    turned = b.add(relax.op.permute_dims(apart, [0, 2, 1, 3]))
    items = b.add(relax.op.split(turned, 3, 3))
    return ends(b, [b.add(relax.TupleGetItem(items, place)) for place in range(3)])


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        (by_take, 3),
        (by_take_of_heads, 3),
        (by_split, 3),
        (by_uneven_split, 3),
        (by_slices, 2),
        (heads_outermost, 3),
    ],
)
def test_split(body, pieces):
    mod = module({"x": (B, S, 8)}, body)
    after = SplitProducts()(mod)
    assert len(calls(after, "matmul")) == pieces
    assert not {"split", "take", "strided_slice"} & set(operators(after))
    assert_close(mod, after, products=8)


def test_columns_that_nobody_reads_are_gone():
    after = SplitProducts()(module({"x": (B, S, 8)}, by_slices))
    assert sorted(shape_of(call)[-1] for call in calls(after, "matmul")) == [4, 5]


def _read_as_a_whole_too(b, x):
    whole = product(b, x)
    return relax.Tuple([whole, b.add(relax.op.strided_slice(whole, [2], [0], [4]))])


def _columns_read_twice(b, x):
    whole = product(b, x)
    return ends(b, [b.add(relax.op.strided_slice(whole, [2], [0], [stop])) for stop in (4, 9)])


def _rows(b, x):
    whole = product(b, x)
    return ends(b, [b.add(relax.op.take(whole, number(place), 1)) for place in range(S)])


def _every_other_column(b, x):
    whole = product(b, x)
    return ends(
        b, [b.add(relax.op.strided_slice(whole, [2], [start], [3 * WIDTH], [2])) for start in range(2)]
    )


def _one_slice(b, x):
    return b.add(relax.op.strided_slice(product(b, x), [2], [0], [4]))


def _a_product_of_activations(b, x):
    items = b.add(relax.op.split(b.add(relax.op.matmul(x, b.add(relax.op.permute_dims(x, [0, 2, 1])))), 5, 2))
    return ends(b, [b.add(relax.TupleGetItem(items, place)) for place in range(5)])


@pytest.mark.parametrize(
    "body",
    [
        _read_as_a_whole_too,
        _columns_read_twice,
        _rows,
        _every_other_column,
        _one_slice,
        _a_product_of_activations,
    ],
)
def test_near_misses(body):
    mod = module({"x": (B, S, 8)}, body)
    assert operators(SplitProducts()(mod)) == operators(mod)
