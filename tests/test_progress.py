"""Methods that walk through the samples show a bar, and the bar ends at its total."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import tvmq
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.search.options import SearchOptions

from .search.network import network, samples


class Bars:
    """Notes of each bar its total and how far it went."""

    def __init__(self):
        self.ended = {}

    @contextmanager
    def __call__(self, description, total):
        bar = _Bar()
        yield bar
        self.ended[description] = bar.count, total


class _Bar:
    count = 0

    def update(self, steps=1):
        assert steps >= 0
        self.count += steps


SPARE = "look for layers to spare"


@pytest.mark.parametrize(
    ("options", "bars"),
    [
        (QuantizeOptions(observer="kl"), {"calibrate", SPARE, "correct biases"}),
        (
            QuantizeOptions(observer="lapq", bias_correction="none"),
            {"calibrate", "see distributions", "clip by the loss", SPARE},
        ),
        (QuantizeOptions(rounding="reconstruct"), {"calibrate", SPARE, "round weights"}),
    ],
)
def test_methods(options, bars):
    shown = Bars()
    tvmq.quantize(network(), calibration=samples(4), options=options, progress=shown)
    assert shown.ended.keys() == bars
    assert all(count == total for count, total in shown.ended.values()), shown.ended


def test_search():
    shown = Bars()
    search = SearchOptions(bit_budget="4bits", trials=300)  # more than there are mixtures
    tvmq.quantize(network(), "mixed", calibration=samples(4), search=search, progress=shown)
    for description in (
        "inputs of layers",
        "layers at each of the bits",
        "sensitivity of layers",
        "mixtures",
    ):
        assert description in shown.ended
    assert all(count == total for count, total in shown.ended.values()), shown.ended


def test_report():
    quantized = tvmq.quantize(network(), calibration=samples(4))
    shown = Bars()
    quantized.report(samples(4), progress=shown)
    assert shown.ended == {"report": (4, 4)}
