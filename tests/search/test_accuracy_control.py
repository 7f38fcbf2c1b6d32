"""Layers go back to float, worst first, until a metric holds."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.search.sensitivity import sensitivity

from .network import WEIGHTS, float_scores, network, samples, scores

OPTIONS = tvmq.QuantizeOptions(rounding="nearest", bias_correction="none", bits={"*": 4})


class Distance:
    """The negative mean distance to float; what is in ``failures`` it gives, or raises, at that call instead."""

    def __init__(self, failures=None):
        self.reference = float_scores()
        self.failures = failures or {}
        self.values: list[float] = []

    def __call__(self, run):
        failure = self.failures.get(len(self.values))
        if isinstance(failure, Exception):
            raise failure
        value = -float(np.abs(scores(run) - self.reference).mean()) if failure is None else failure
        self.values.append(value)
        return value


def _control(metric, max_drop, **said):
    return tvmq.quantize_with_accuracy_control(
        network(), metric, calibration=samples(), max_drop=max_drop, options=OPTIONS, **said
    )


def _floats(model):
    return {layer.name for layer in model.layers if layer.status == "float"}


def test_layers_go_back_until_it_holds(monkeypatch):
    ranks = {}

    def ranked(*arguments, **said):
        ranks.update(sensitivity(*arguments, **said))
        return ranks

    monkeypatch.setattr("tvmq.search.accuracy_control.sensitivity", ranked)
    metric = Distance()
    found = _control(metric, 1.0)
    worst_first = sorted(ranks, key=lambda layer: -ranks[layer][8])
    assert found.holds and 0 < len(found.reverted) < len(worst_first)
    assert list(found.reverted) == worst_first[: len(found.reverted)]
    # Float, all quantized, then one layer more each time; none after the first that holds.
    assert len(metric.values) == 2 + len(found.reverted)
    assert [metric.values[0] - value <= 1.0 for value in metric.values[1:]] == [False] * len(
        found.reverted
    ) + [True]
    assert (found.reference, found.value) == (metric.values[0], metric.values[-1])
    assert _floats(found.model) >= set(found.reverted)
    package = tvmq.compile(found.model)
    assert Distance()(package.run) == pytest.approx(found.value, abs=0.1)


def test_what_holds_at_once_is_left_quantized():
    metric = Distance()
    found = _control(metric, 100.0)
    assert (found.reverted, found.holds, len(metric.values)) == ((), True, 2)
    assert not _floats(found.model) & WEIGHTS.keys()


def test_a_metric_that_fails_ends_it_with_the_best(caplog):
    metric = Distance({3: ZeroDivisionError("no samples")})
    with caplog.at_level(logging.WARNING, "tvmq"):
        found = _control(metric, 0.0)
    assert (
        "the metric raised ZeroDivisionError: no samples; the search stops, and keeps the best" in caplog.text
    )
    assert not found.holds and found.value == max(metric.values[1:])
    assert len(found.reverted) <= 1


def test_it_goes_on_from_its_state(tmp_path):
    state = tmp_path / "state.json"
    with pytest.raises(KeyboardInterrupt):
        _control(_Interrupted({3: None}), 0.5, state=state)
    kept = json.loads(state.read_text())["measurements"]
    metric = _Interrupted()
    found = _control(metric, 0.5, state=state)
    assert found.holds and len(metric.values) == 2 + len(found.reverted) - 3
    assert kept.items() <= json.loads(state.read_text())["measurements"].items()


class _Interrupted(Distance):
    """Interrupts at the calls of ``failures``, as Ctrl-C does."""

    def __call__(self, run):
        if len(self.values) in self.failures:
            raise KeyboardInterrupt
        return super().__call__(run)


def test_bad_input():
    with pytest.raises(TvmqError, match="the metric returned nan, which is no finite number"):
        _control(Distance({0: float("nan")}), 0.1)
    with pytest.raises(TvmqError, match="the metric raised TypeError: .*unsupported"):
        _control(lambda run: run + 1, 0.1)
    with pytest.raises(TvmqError, match="must be a number of at least 0, got -1"):
        _control(Distance(), -1)
    with pytest.raises(TvmqError, match="that quantize activations too, and 'weight-only' does not"):
        _control(Distance(), 0.1, scheme="weight-only")
    quantized = tvmq.quantize(network(), calibration=samples(), options=OPTIONS)
    with pytest.raises(TvmqError, match="needs a float model, and this one comes quantized"):
        tvmq.quantize_with_accuracy_control(quantized.mod, Distance(), calibration=samples())
