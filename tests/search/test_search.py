"""The search as a user starts it: budgets, what is found, resuming, bad input."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

import tvmq
from tvmq.config.config import read_config
from tvmq.errors import TvmqError
from tvmq.passes.hub.pairs import weight_pairs
from tvmq.search import mixtures, search
from tvmq.search.mixtures import Mixtures
from tvmq.search.options import SearchOptions

from .network import NEAREST, WEIGHTS, float_scores, network, samples, scores

CANDIDATES = (2, 4, 8)


@pytest.fixture(scope="module", autouse=True)
def mixtures_made_once():
    """Make the mixtures once for all searches with the same options: it is most of the time that they take."""
    made: dict[str, Mixtures] = {}

    def mixtures_of(mod, recipe, variants, few):
        key = f"{recipe.options} {variants}"
        if key not in made:
            made[key] = mixtures.mixtures_of(mod, recipe, variants, few)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "mixtures_of", mixtures_of)
        yield


def _search(options=NEAREST, **said):
    said = {"candidates": CANDIDATES, "samples": 4, "trials": 4, **said}
    return tvmq.quantize(
        network(), "mixed", calibration=samples(), options=options, search=SearchOptions(**said)
    )


def _bits(quantized):
    return {
        layer.name: layer.details["weight_bits"]
        for layer in quantized.layers
        if "weight_bits" in layer.details
    }


def _bytes(bits):
    return sum(-(-WEIGHTS[name] * count // 8) for name, count in bits.items())


def test_a_budget_of_size_its_file_and_what_is_reproduced_by_hand(tmp_path):
    found = _search(bit_budget="4.5bits", output=tmp_path / "found.toml")
    bits = _bits(found)
    assert set(bits) == set(WEIGHTS) and set(bits.values()) <= {*CANDIDATES}
    assert _bytes(bits) <= 4.5 * sum(WEIGHTS.values()) / 8
    # It is no budget that leaves room for more: no layer can have its next candidate.
    assert _bytes({**bits, "head": 8}) > 4.5 * sum(WEIGHTS.values()) / 8 or bits["head"] == 8
    config = read_config(tmp_path / "found.toml")
    assert (config.scheme, config.options.rounding, config.options.bits) == ("int8", "nearest", bits)
    again = tvmq.quantize(network(), **config.arguments(), calibration=samples())
    assert _same(found, again)


def _same(one, other):
    run, again = (scores(tvmq.compile(model).run) for model in (one, other))
    return np.array_equal(run, again)


def test_a_search_is_resumed_from_its_state(tmp_path, monkeypatch):
    """Killed in the middle, it measures only what it had not, and finds the same."""
    state = tmp_path / "search.json"
    seen = []

    def counted(measure):
        def count(self, bits):
            seen.append(dict(bits))
            if len(seen) == 7:
                raise KeyboardInterrupt
            return measure(self, bits)

        return count

    for which in ("error", "weight_error"):
        monkeypatch.setattr(Mixtures, which, counted(getattr(Mixtures, which)))
    with pytest.raises(KeyboardInterrupt):
        _search(bit_budget="4bits", state=state)
    assert len(json.loads(state.read_text())["measurements"]) == 6
    first = _search(bit_budget="4bits", state=state)
    measured = len(seen)
    assert len({json.dumps(bits) for bits in seen}) == measured - 1  # the one that was broken off, twice
    second = _search(bit_budget="4bits", state=state)
    assert len(seen) == measured
    assert _bits(first) == _bits(second)
    with pytest.raises(TvmqError, match="is of another model, or of other options or samples"):
        _search(options=tvmq.QuantizeOptions(rounding="nearest", power_of_two=True), state=state)


def test_the_smallest_weights_that_keep_a_cosine():
    loose, tight = (_search(min_cosine=bound) for bound in (0.98, 0.9995))
    assert _bytes(_bits(loose)) < _bytes(_bits(tight))
    reference = float_scores()
    for quantized, bound in ((loose, 0.98), (tight, 0.9995)):
        run = scores(tvmq.compile(quantized).run)
        norms = np.linalg.norm(run, axis=1) * np.linalg.norm(reference, axis=1)
        assert 1.0 - ((run * reference).sum(1) / norms).mean() < 1.3 * (1.0 - bound)


def test_a_budget_that_cannot_be_kept_says_the_smallest():
    smallest = _bytes(dict.fromkeys(WEIGHTS, 2))
    with pytest.raises(
        TvmqError, match=f"the smallest that can be kept is {smallest}B, or 2bits, with layers of 2"
    ):
        _search(bit_budget="1.9bits")
    with pytest.raises(TvmqError, match="a run cannot take 1e-06 ms: the shortest that was measured takes"):
        _search(latency_budget="1e-3us", candidates=(8,))


def test_with_time_enough_all_layers_stay_in_float():
    quantized = _search(latency_budget="10s", candidates=(8,))
    assert _bits(quantized) == {}
    assert all(layer.status == "float" for layer in quantized.layers if layer.name in WEIGHTS)


def test_what_the_user_says_of_a_layer_stays():
    options = tvmq.QuantizeOptions(rounding="nearest", bits={"first": 8})
    bits = _bits(_search(options, bit_budget="4.0bits"))
    assert bits["first"] == 8 and _bytes(bits) <= sum(WEIGHTS.values()) / 2
    said = {"first": 8, "second": 2, "head": 4}
    options = tvmq.QuantizeOptions(rounding="nearest", bits=said)
    assert _bits(_search(options, bit_budget="1.0bits")) == said


def _metric(fails_at: int | None = None, with_: object = float("nan")):
    """Return the negative mean distance to float; from a call on it gives or raises something else."""
    reference, calls = float_scores(), []

    def metric(run):
        calls.append(None)
        if fails_at is not None and len(calls) >= fails_at:
            if isinstance(with_, Exception):
                raise with_
            return with_
        return -float(np.abs(scores(run) - reference).mean())

    return metric


def test_a_bound_on_a_metric():
    quantized = _search(metric=_metric(), max_drop=1.0)
    # The search measures its simulation of the integers.
    assert _metric()(tvmq.compile(quantized).run) > -1.1
    assert _bytes(_bits(quantized)) < _bytes(dict.fromkeys(WEIGHTS, 8))


@pytest.mark.parametrize("failure", [float("nan"), ZeroDivisionError("no samples")])
def test_a_metric_that_fails_ends_the_search_with_its_best(failure, caplog):
    with caplog.at_level(logging.WARNING, "tvmq"):
        quantized = _search(metric=_metric(3, failure), max_drop=1000.0)
    assert "the search stops, and keeps the best that it has" in caplog.text
    assert "nan" in caplog.text or "ZeroDivisionError: no samples" in caplog.text
    assert quantized.scheme == "mixed"


def test_bad_input():
    with pytest.raises(TvmqError, match="the metric returned nan, which is no finite number"):
        _search(metric=_metric(1))
    with pytest.raises(TvmqError, match="no effect with the scheme 'int8', only with 'mixed'"):
        tvmq.quantize(network(), calibration=samples(), search=SearchOptions())
    with pytest.raises(TvmqError, match="weight_bits has no effect"):
        _search(tvmq.QuantizeOptions(weight_bits=4))
    with pytest.raises(TvmqError, match="there are no quantized weights"):
        _search(tvmq.QuantizeOptions(skip_layers=tuple(WEIGHTS)))
    with pytest.raises(TvmqError, match="there are no calibration samples"):
        tvmq.quantize(network(), "mixed", calibration=[])


def test_the_pairs_have_the_bits():
    """What the record says is what the weights have."""
    bits = _bits(quantized := _search(bit_budget="3bits"))
    assert weight_pairs(quantized.mod) == []
    for pair in weight_pairs(quantized.stages.simulated):
        assert pair.bits == bits[pair.name] and np.abs(pair.integers).max() <= 2 ** (pair.bits - 1) - 1
