"""Fine-tuning gets better on what it does not learn from, and goes on with the same bits after it was broken off."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.passes.annotate.learning import FineTuneOptions
from tvmq.passes.hub.graph import input_specs
from tvmq.passes.train import loop as loop_module
from tvmq.passes.train.augment import Augment
from tvmq.passes.train.batches import Data
from tvmq.passes.train.checkpoint import Checkpoint
from tvmq.passes.train.loop import Loop
from tvmq.passes.train.network import network

from .networks import calibrated, samples, unoptimized

OPTIONS = FineTuneOptions(steps=24, batch=4, rate=0.01)


@pytest.fixture(scope="module")
def hub():
    return calibrated()


@pytest.fixture(scope="module")
def trained(hub):
    return network(hub, hub, unoptimized, batch=4, drops=True)


@pytest.fixture(scope="module")
def data(hub):
    found = ((sample, None) for sample in samples(24, seed=3))
    return Data.of(found, input_specs(hub), share=0.25, augment=Augment(("mirror", "mix")), seed=0)


class Bar:
    """Counts steps, keeps texts, and breaks off where it is told to."""

    def __init__(self, stop: int | None = None):
        self.steps, self.texts, self._stop = 0, [], stop

    def __call__(self, description: str, total: int | None) -> Bar:
        self.total = total
        return self

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        self.steps += count
        if self.steps == self._stop:
            raise KeyboardInterrupt

    def set_postfix_str(self, text: str) -> None:
        self.texts.append(text)


def _loop(trained, data, options=OPTIONS, path=None, bar=None):
    return Loop(trained, data, options, Checkpoint(path, "key"), bar)


@pytest.fixture(scope="module")
def found(trained, data):
    return _loop(trained, data).run()


def test_the_error_on_samples_held_out_falls(found):
    assert found.after < 0.9 * found.before
    assert found.steps == OPTIONS.steps
    assert all(0.0 <= share <= 1.0 for share in found.agreement)


def test_the_same_seed_gives_the_same_bits(trained, data, found):
    again = _loop(trained, data).run()
    other = _loop(trained, replace(data, seed=1), replace(OPTIONS, seed=1)).run()
    assert all(np.array_equal(array, again.values[key]) for key, array in found.values.items())
    assert not all(np.array_equal(array, other.values[key]) for key, array in found.values.items())


@pytest.mark.parametrize("options", [OPTIONS, replace(OPTIONS, freeze=0.01, stochastic=True, drop=0.5)])
def test_what_was_broken_off_goes_on_with_the_same_bits(trained, data, tmp_path, options):
    whole = _loop(trained, data, options).run()
    path = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        _loop(trained, data, replace(options, checkpoint_every=1e-9), path, Bar(stop=9)).run()
    bar = Bar()
    resumed = _loop(trained, data, options, path, bar).run()
    assert bar.total == options.steps - 8
    assert all(np.array_equal(array, resumed.values[key]) for key, array in whole.values.items())
    assert resumed.before == whole.before


def test_the_bar_shows_loss_and_agreement(trained, data):
    bar = Bar()
    _loop(trained, data, replace(OPTIONS, steps=4), bar=bar).run()
    assert (bar.steps, bar.total) == (4, 4)
    assert all("loss" in text and "held out" in text and "% agree" in text for text in bar.texts)


def test_a_loss_that_is_no_number_is_answered_by_the_last_good_state(trained, data, caplog):
    calls = 0

    def spoiled(arrays):
        nonlocal calls
        calls += 1
        results = trained.step(arrays)
        return [np.full_like(results[0], np.nan), *results[1:]] if calls == 12 else results

    result = _loop(replace(trained, step=spoiled), data).run()
    assert result.after <= result.before
    assert "going on from the last good state with 0.5 of the rate" in caplog.text


def test_a_loss_that_stays_no_number_ends_it(trained, data):
    calls = 0

    def spoiled(arrays):
        nonlocal calls
        calls += 1
        results = trained.step(arrays)
        return [np.full_like(results[0], np.nan), *results[1:]] if calls > 12 else results

    with pytest.raises(TvmqError, match="the loss is no number in step"):
        _loop(replace(trained, step=spoiled), data).run()


def test_a_model_whose_error_is_no_number_cannot_begin(trained, data):
    spoiled = replace(trained, step=lambda arrays: [np.float32(np.nan), *trained.step(arrays)[1:]])
    with pytest.raises(TvmqError, match="fine-tuning cannot begin"):
        _loop(spoiled, data).run()


def test_a_budget_leaves_steps_out(trained, data, caplog, monkeypatch):
    monkeypatch.setattr(loop_module, "FEWEST", 6)
    with caplog.at_level(logging.INFO):
        result = _loop(trained, data, replace(OPTIONS, steps=10**6, budget=1e-6)).run()
    assert result.steps == 6
    assert "6 of 1000000 steps" in caplog.text


def test_steps_of_several_batches(trained, data):
    result = _loop(trained, data, replace(OPTIONS, batch=12, steps=4)).run()
    assert result.steps == 4


def test_progressive_bits_begin_finer(trained, data):
    seen = []

    def noting(arrays):
        seen.append(float(arrays[-3]))
        return trained.step(arrays)

    _loop(replace(trained, step=noting), data, replace(OPTIONS, steps=6, progressive=(8, 5))).run()
    # 8 and 5 bits where the fewest are 3; what is held out is looked at with the network's own.
    assert [finer for finer in seen if finer != 1.0] == [32.0, 32.0, 4.0, 4.0]


def test_another_model_s_state_is_refused(trained, data, tmp_path):
    path = tmp_path / "state.npz"
    Checkpoint(path, "other").write({"values": np.zeros(2)}, {"step": 1})
    with pytest.raises(TvmqError, match="another model, or with other samples or options"):
        _loop(trained, data, path=path).run()


def test_a_file_that_is_no_state(trained, data, tmp_path):
    path = tmp_path / "state.npz"
    path.write_text("nothing")
    with pytest.raises(TvmqError, match="is no state of fine-tuning"):
        _loop(trained, data, path=path).run()


def test_a_state_that_cannot_be_written(trained, data, tmp_path):
    with pytest.raises(TvmqError, match="cannot be written"):
        _loop(trained, data, path=tmp_path / "nowhere" / "state.npz").run()


def test_where_memory_is_short_it_learns_the_same(hub, data, found):
    short = network(hub, hub, unoptimized, batch=4, drops=True, room=1e4)
    again = _loop(short, data).run()
    assert all(np.array_equal(array, again.values[key]) for key, array in found.values.items())
