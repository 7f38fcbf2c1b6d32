"""Views tell where each element of a value comes from, and stop where that is uneven."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, shape_of
from tvmq.passes.hub.views import Part, dense, merged, reshaped, view_of

from ..modules import module, run

SHAPE = (2, 3, 4, 6)


def view_in(mod):
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    last = [var for var, value in values.items() if isinstance(value, relax.Call)][-1]
    return view_of(lambda expr: values.get(expr, expr), last)


def elements(view, source):
    """Return the elements of a view of an array."""
    places = np.zeros((), int)
    for axis in view.axes:
        own = np.zeros(1, int)
        for part in axis:
            own = (own[:, None] + part.stride * np.arange(part.extent)).ravel()
        places = places[..., None] + own
    return source.ravel()[places]


def permuted(b, x):
    return b.add(relax.op.permute_dims(x, [0, 2, 1, 3]))


def joined(b, x):
    return b.add(relax.op.reshape(permuted(b, x), (8, 3, 6)))


def cut_again(b, x):
    return b.add(relax.op.permute_dims(b.add(relax.op.reshape(joined(b, x), (2, 4, 3, 2, 3)))))


def repeated(b, x):
    apart = b.add(relax.op.expand_dims(x, 2))
    return b.add(relax.op.reshape(b.add(relax.op.broadcast_to(apart, (2, 3, 5, 4, 6))), (2, 15, 4, 6)))


def squeezed(b, x):
    return b.add(relax.op.squeeze(b.add(relax.op.expand_dims(b.add(relax.op.flatten(x)), 0)), [0]))


@pytest.mark.parametrize("body", [permuted, joined, cut_again, repeated, squeezed])
def test_elements(body):
    mod = module({"x": SHAPE}, body)
    view = view_in(mod)
    assert view.source.same_as(mod["main"].params[0])
    source = np.random.default_rng(7).standard_normal(SHAPE).astype("float32")
    np.testing.assert_array_equal(elements(view, source), run(mod, 7)[0])


def test_what_lies_together_is_one_part():
    assert dense((2, 1, 3)) == ((Part(2, 3),), (), (Part(3, 1),))
    assert merged([Part(2, 12), Part(1, 5), Part(3, 4), Part(4, 2)]) == (Part(6, 4), Part(4, 2))
    assert merged([Part(5, 0), Part(2, 0)]) == (Part(10, 0),)


def test_a_part_that_would_be_cut_unevenly():
    axes = ((Part(4, 1),), (Part(6, 4),))
    assert reshaped(axes, (2, 2, 6)) == ((Part(2, 2),), (Part(2, 1),), (Part(6, 4),))
    assert reshaped(axes, (3, 8)) is None
    assert reshaped(axes, (4, 5)) is None


def test_an_uneven_reshape_is_a_source_of_its_own():
    def body(b, x):
        uneven = b.add(relax.op.reshape(permuted(b, x), (9, 16)))
        return b.add(relax.op.permute_dims(uneven))

    mod = module({"x": SHAPE}, body)
    view = view_in(mod)
    assert shape_of(view.source) == (9, 16)
    assert view.axes == ((Part(16, 1),), (Part(9, 16),))
