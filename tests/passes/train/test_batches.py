"""Samples become batches: each once an epoch, some held out, and the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.passes.train.augment import Augment
from tvmq.passes.train.batches import Data

SPECS = {"x": ((1, 3, 8, 8), "float32")}
PLAIN = Augment(())


def _samples(count: int, labels: bool = False):
    """Give samples whose values are their numbers."""
    for number in range(count):
        label = np.array([number % 4]) if labels else None
        yield {"x": np.full((1, 3, 8, 8), number, np.float32)}, label


def _data(count: int = 20, share: float = 0.2, augment: Augment = PLAIN, seed: int = 0, **options):
    return Data.of(_samples(count, bool(options)), SPECS, share=share, augment=augment, seed=seed, **options)


def _numbers(batch) -> list[int]:
    return [int(image[0, 0, 0]) for image in batch.inputs["x"]]


def test_some_samples_are_held_out():
    data = _data()
    assert (len(data.learned), len(data.held)) == (16, 4)
    assert not set(data.learned) & set(data.held)


def test_each_sample_comes_once_before_any_comes_again():
    data = _data()
    seen = [number for step in range(8) for number in _numbers(data.batch(step, 4))]
    assert sorted(seen[:16]) == sorted(seen[16:]) == sorted(data.learned)
    assert seen[:16] != seen[16:]


def test_a_batch_follows_from_the_seed_and_its_number():
    first, again, other = _data(), _data(), _data(seed=1)
    assert _numbers(first.batch(5, 6)) == _numbers(again.batch(5, 6))
    assert _numbers(first.batch(5, 6)) != _numbers(other.batch(5, 6))


def test_what_is_held_out_comes_as_it_is_in_whole_batches():
    data = _data(augment=Augment(("mix", "mirror", "crop")))
    batches = list(data.held_out(3))
    assert [len(batch.inputs["x"]) for batch in batches] == [3, 3]
    assert [number for batch in batches for number in _numbers(batch)][:4] == sorted(data.held)


def test_labels_become_shares_of_classes_and_mix_as_images_do():
    data = _data(classes=4)
    batch = data.batch(0, 6)
    assert np.array_equal(batch.labels.argmax(1), np.array(_numbers(batch)) % 4)
    mixed = _data(augment=Augment(("mix",)), classes=4).batch(0, 16)
    np.testing.assert_allclose(mixed.labels.sum(1), 1.0, rtol=1e-6)
    assert ((mixed.labels > 0).sum(1) == 2).any()


def test_inputs_that_are_no_images_stay_as_they_are():
    specs = {"ids": ((1, 4), "int64")}
    samples = (({"ids": np.full((1, 4), number)}, None) for number in range(10))
    data = Data.of(samples, specs, share=0.2, augment=Augment(), seed=0)
    assert np.array_equal(np.sort(data.batch(0, 8).inputs["ids"][:, 0]), data.learned)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: _data(7), "needs at least 8, and there are 7"),
        (lambda: _data(0), "there are 0"),
        (lambda: _data(classes=3), "is labelled 3, and the model's output has 3 classes"),
        (
            lambda: Data.of([({"y": np.zeros(1)}, None)] * 9, SPECS, share=0.2, augment=PLAIN, seed=0),
            "'y'",
        ),
    ],
)
def test_samples_that_do_not_do(data, says):
    with pytest.raises(TvmqError, match=says):
        data()
