"""Metrics of the user's, and top-1."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.search.metrics import MetricError, Top1, name_of, value_of

SCORES = np.float32([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.0, 0.2, 0.3]])


def _run(inputs):
    return {"scores": SCORES[inputs["row"]]}


def _pairs(*labels, rows=((0, 1), (2,))):
    labels = iter(labels)
    return [({"row": np.array(chosen)}, np.array([next(labels) for _ in chosen])) for chosen in rows]


def test_top1_counts_rows_in_percent():
    assert Top1(_pairs(1, 0, 2))(_run) == 100.0
    assert Top1(_pairs(1, 1, 2))(_run) == pytest.approx(200 / 3)


def test_top1_shows_how_many_samples_have_run():
    steps = []

    @contextmanager
    def progress(description, total):
        steps.append((description, total))
        yield SimpleNamespace(update=steps.append)

    assert Top1(_pairs(1, 0, 2), progress=progress)(_run) == 100.0
    assert steps == [("accuracy", 2), 1, 1]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (_pairs(1, 0, 3), "the label 3 is none of the model's 3 classes"),
        (_pairs(1, -1, 2), "the label -1 is none of the model's 3 classes"),
        ([({"row": np.array([0, 1])}, np.array([1]))], "there are 1 labels for a sample of 2 rows"),
        ([], "there are no samples to measure the accuracy on"),
    ],
)
def test_labels_that_do_not_match(pairs, message):
    with pytest.raises(MetricError, match=message):
        value_of(Top1(pairs), _run)


def test_a_model_of_two_outputs():
    def run(inputs):
        return {"a": SCORES[inputs["row"]], "b": -SCORES[inputs["row"]]}

    assert Top1(_pairs(1, 0, 2))(run) == 100.0
    assert Top1(_pairs(1, 0, 2), output="b")(run) == 0.0
    with pytest.raises(TvmqError, match="unknown output for the accuracy 'c'"):
        Top1(_pairs(1, 0, 2), output="c")(run)


def test_an_output_that_is_the_class_itself():
    assert Top1(_pairs(1, 0, 2))(lambda inputs: {"class": SCORES[inputs["row"]].argmax(1)}) == 100.0


def test_names_tell_metrics_apart():
    assert name_of(Top1([], "top-1 on labels.txt")) == "top-1 on labels.txt"
    assert name_of(Top1([], "top-1 on labels.txt", output="b")) == "top-1 on labels.txt, b"
    assert name_of(_run) == "_run"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much", None])
def test_what_is_no_number(value):
    with pytest.raises(MetricError):
        value_of(lambda run: value, _run)
