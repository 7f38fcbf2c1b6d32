"""Layers that keep little of what they read, and all of its rounding, stay in float where they are small."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.pairs import activation_pairs, weight_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.spare_layers import SpareLayers
from tvmq.passes.pipeline import CalibrationData, quantization_passes
from tvmq.passes.realize.fold_weights import FoldWeights
from tvmq.passes.realize.layout import Layout

from ..modules import calls, const, module
from ..qdq import realize

SHAPE = (1, 8, 12, 12)
DIFFERENCE = np.zeros((8, 1, 1, 2), np.float32)
DIFFERENCE[..., 0], DIFFERENCE[..., 1] = 50.0, -50.0


def samples():
    """Images of neighbours that are almost alike, far from zero: a difference of two keeps next to nothing."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(50, 100, (4, *SHAPE[:3], 1)) + rng.uniform(-0.2, 0.2, (4, *SHAPE))
    return [{"x": row.astype("float32")} for row in rows]


def network(filters=DIFFERENCE, hard_swish=False):
    def body(b, x):
        y = b.add(relax.op.nn.conv2d(x, relax.const(filters), groups=8), "edges")
        if hard_swish:
            y = b.add(relax.op.multiply(y, b.add(relax.op.sigmoid(y), "gate")), "swish")
        return b.add(relax.op.nn.conv2d(y, const(64, 8, 3, 3)), "wide")

    mod = module({"x": SHAPE}, body)
    return Calibrate(samples())(Annotate(get_scheme("int8"))(mod))


def test_a_difference_of_large_numbers_stays_in_float():
    mod = SpareLayers(samples())(network())
    assert [pair.name for pair in weight_pairs(mod)] == ["wide"]
    assert [pair.name for pair in activation_pairs(mod)] == ["edges"]  # its result, for the layer behind it
    edges = next(layer for layer in get_layers(mod) if layer.name == "edges")
    assert edges.status == "float" and edges.reason.startswith("rounding its input leaves")
    realized = realize(Layout()(FoldWeights()(mod)))
    assert len(calls(realized, "nn.conv2d")) == 1
    assert {layer.name: layer.status for layer in get_layers(realized)} == {"edges": "float", "wide": "int8"}


def test_functions_of_its_result_stay_too():
    mod = SpareLayers(samples())(network(hard_swish=True))
    assert [pair.name for pair in activation_pairs(mod)] == ["swish"]
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    (gate,) = calls(mod, "sigmoid")
    assert op_name(values[gate.args[0]]) == "relax.nn.conv2d"


@pytest.mark.parametrize(
    ("filters", "below", "given"),
    [
        (np.abs(DIFFERENCE), 20.0, samples()),  # sums keep what they read
        (DIFFERENCE, 0.1 - 40.0, samples()),
        (DIFFERENCE, 20.0, []),
    ],
    ids=["sums", "a lower limit", "no samples"],
)
def test_what_stays_as_it_is(filters, below, given):
    mod = network(filters)
    assert SpareLayers(given, below=below)(mod).same_as(mod)


def test_a_large_part_of_the_model_is_quantized():
    def body(b, x):
        y = b.add(relax.op.nn.conv2d(x, relax.const(DIFFERENCE), groups=8), "edges")
        return b.add(relax.op.nn.conv2d(y, const(2, 8, 1, 1)), "narrow")

    mod = Calibrate(samples())(Annotate(get_scheme("int8"))(module({"x": SHAPE}, body)))
    assert SpareLayers(samples())(mod).same_as(mod)


@pytest.mark.parametrize(
    ("scheme", "options", "expected"),
    [
        ("int8", {}, [20.0]),
        ("int8", {"float_below": 12.0}, [12.0]),
        ("int8", {"float_below": 0.0}, []),
        ("int8", {"bits": {"conv": 8}}, []),
        ("int8", {"quantize_only": ("Conv",)}, []),
        ("int8", {"quantize_only": ("Conv",), "float_below": 12.0}, [12.0]),
        ("w4a8", {}, []),
    ],
    ids=str,
)
def test_where_it_runs(scheme, options, expected):
    passes = quantization_passes(
        get_scheme(scheme), None, QuantizeOptions(**options), CalibrationData(samples())
    )
    assert [step.below for step in passes if isinstance(step, SpareLayers)] == expected


def test_bad_input():
    with pytest.raises(TvmqError, match="float_below must be at least 0 decibels, got -1"):
        QuantizeOptions(float_below=-1)
