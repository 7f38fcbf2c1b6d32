"""What is kept of each quantized tensor while the samples run, and the records that it becomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..passes.calibrate.histogram import Histogram
from ..passes.hub.pairs import ActivationPair, WeightPair
from ..passes.hub.parameters import activation_limits, along
from .records import ACTIVATION, INPUT, WEIGHTS, Bars, OutputRecord, TensorRecord
from .statistics import ChannelRange, Difference, Distribution

BARS = 80
"""Of a histogram that is shown."""


class ActivationWatcher:
    """An activation in the float model beside the same one in the simulation.

    Parameters
    ----------
    pair : with its final parameters.
    is_input : it is an input of the model.
    extents : of the tensor; the channels of images are the second axis, of everything else the last one. Along an open
        axis, whose extent is text, there are none.
    """

    def __init__(self, pair: ActivationPair, is_input: bool, extents: Sequence[int | str]):
        self._pair = pair
        self._kind = INPUT if is_input else ACTIVATION
        low, high = pair.range
        # A value that far beyond the range would round to an integer that there is not.
        half = pair.scale / 2.0
        place = 1 if len(extents) == 4 else -1
        axis = place if extents and isinstance(extents[place], int) else None
        self._before, self._after = Distribution(low - half, high + half), Histogram()
        self._rounding, self._accumulated = Difference(axis), Difference(axis)
        self._channels = ChannelRange(axis)

    def update(self, exact: np.ndarray, simulated: np.ndarray) -> None:
        """Take in float32 values of one shape: the float model's, and what the integers stand for."""
        self._before.update(exact)
        self._after.update(simulated)
        self._channels.update(exact)
        self._rounding.update(exact, self._rounded(exact))
        self._accumulated.update(exact, simulated)

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        """Return ``dequantize(quantize(values))``."""
        pair = self._pair
        first, last = activation_limits(pair.dtype, pair.bits)
        steps = values / np.float32(pair.scale)
        np.rint(steps, out=steps)
        np.clip(steps, first - pair.zero_point, last - pair.zero_point, out=steps)
        steps *= np.float32(pair.scale)
        return steps

    def record(self) -> TensorRecord:
        """Return the figures so far; at least one sample must have come."""
        pair = self._pair
        return _record(
            pair.name,
            self._kind,
            self._before,
            self._rounding,
            clip_rate=self._before.clip_rate,
            bits=pair.bits,
            scale=pair.scale,
            zero_point=pair.zero_point,
            accumulated_cosine=self._accumulated.cosine,
            accumulated_sqnr=self._accumulated.sqnr,
            spread=self._channels.spread,
            bias_share=self._accumulated.bias_share,
            scales=1,
        )

    def bars(self) -> Bars:
        """Return the histograms so far."""
        return _bars(self._before, self._after)


def weight_record(pair: WeightPair) -> tuple[TensorRecord, Bars]:
    """Return the figures and the histograms of weights with known scales."""
    values, restored = pair.values, pair.restored.astype(np.float32)
    before, after = Distribution(-np.inf, np.inf), Histogram()
    before.update(values)
    after.update(restored)
    difference, channels = Difference(pair.axis), ChannelRange(pair.axis)
    difference.update(values, restored)
    channels.update(values)
    steps = values / along(pair.scales, pair.axis, values.ndim)
    low, high = pair.limits
    record = _record(
        pair.name,
        WEIGHTS,
        before,
        difference,
        clip_rate=float(np.mean((steps < low - 0.5) | (steps > high + 0.5))),
        bits=pair.bits,
        scale=float(pair.scales.max()),
        zero_point=0,
        accumulated_cosine=None,
        accumulated_sqnr=None,
        spread=channels.spread,
        bias_share=0.0,
        scales=int(pair.scales.size),
    )
    return record, _bars(before, after)


class OutputWatcher:
    """An output of the model in float beside the quantized one."""

    def __init__(self, name: str):
        self._name = name
        self._difference = Difference(None)
        self._same = self._rows = 0

    def update(self, exact: np.ndarray, simulated: np.ndarray) -> None:
        """Take in two arrays of one shape, of any dtype."""
        exact, simulated = (np.atleast_1d(values).astype(np.float64) for values in (exact, simulated))
        self._difference.update(exact, simulated)
        if exact.shape[-1] > 1:
            same = exact.argmax(axis=-1) == simulated.argmax(axis=-1)
            self._same += int(same.sum())
            self._rows += same.size

    def record(self) -> OutputRecord:
        """Return the figures so far."""
        same = self._same / self._rows if self._rows else None
        difference = self._difference
        return OutputRecord(self._name, difference.cosine, difference.sqnr, difference.max_error, same)


def _record(layer: str, kind: str, before: Distribution, difference: Difference, **others) -> TensorRecord:
    first, median, third = before.quartiles()
    return TensorRecord(
        layer=layer,
        kind=kind,
        min=before.min,
        q1=first,
        median=median,
        q3=third,
        max=before.max,
        mean=before.mean,
        variance=before.variance,
        sparsity=before.sparsity,
        cosine=difference.cosine,
        sqnr=difference.sqnr,
        **others,
    )


def _bars(before: Distribution, after: Histogram) -> Bars:
    """Return both histograms over the range of the float values, which may be a single one."""
    low, high = before.min, before.max
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = []
    for histogram in (before.histogram, after):
        centers = np.clip(histogram.centers, low, high)
        summed, _ = np.histogram(centers, BARS, (low, high), weights=histogram.counts)
        counts.append([int(count) for count in summed])
    return Bars(low, high, *counts)
