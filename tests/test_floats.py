"""Models in float16, bfloat16 and float64: compiled as they are, and quantized like float32."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.nearness import cosine, nearness

from .report.networks import cast_at_the_edges, heads, in_floats, samples

OUTPUTS = ("boxes", "scores", "classes", "x")


@pytest.fixture(scope="module")
def exact():
    package = tvmq.compile(heads(*OUTPUTS))
    return [package.run(sample) for sample in samples()]


@pytest.mark.parametrize("kind", ["float16", "float64"])
@pytest.mark.parametrize("scheme", [None, "int8", "w4a8", "weight-only"])
def test_other_floats(kind, scheme, exact):
    model = in_floats(heads(*OUTPUTS), kind)
    feeds = [{"x": sample["x"].astype(kind)} for sample in samples()]
    if scheme is not None:
        options = QuantizeOptions(rounding="nearest" if scheme == "w4a8" else None)
        model = tvmq.quantize(model, scheme, calibration=feeds, options=options)
        statuses = {layer.name: layer.status for layer in model.layers}
        assert {statuses[name] for name in ("stem", "boxes", "scores")} == {scheme}
    package = tvmq.compile(model)
    assert [tensor["dtype"] for tensor in package.metadata["outputs"]] == [kind, kind, "int64", kind]
    results = [package.run(feed) for feed in feeds]
    for name in ("boxes", "scores"):
        assert results[0][name].dtype == kind
        pairs = [[[outputs[name]] for outputs in run] for run in (exact, results)]
        assert nearness(*pairs) > (0.9999 if scheme is None else 0.97), name
    np.testing.assert_array_equal(results[0]["x"], feeds[0]["x"])


@pytest.mark.parametrize("is_quantized", [False, True])
def test_bfloat16_between_casts(is_quantized, exact):
    model = cast_at_the_edges(in_floats(heads("boxes", "scores"), "bfloat16"))
    if is_quantized:
        model = tvmq.quantize(model, calibration=samples())
        statuses = {layer.name: layer.status for layer in model.layers}
        assert {statuses[name] for name in ("stem", "boxes", "scores")} == {"int8"}
    package = tvmq.compile(model)
    for sample, wanted in zip(samples(), exact, strict=True):
        results = package.run(sample)
        for name in ("boxes", "scores"):
            assert results[name].dtype == "float32"
            assert cosine(wanted[name], results[name]) > 0.98
