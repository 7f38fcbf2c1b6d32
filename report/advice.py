"""What to try next, in words: a table of rules, each one symptom and its remedy.

A rule looks at one tensor or one layer and says what it saw and what helps, or None. A new one is a function and
its place in the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..passes.hub.schemes import get_scheme
from .records import WEIGHTS, Advice, LayerRecord, TensorRecord
from .report import Report

CLIPPED = 0.01
"""Share of clipped values above which the range is too small: 0.01 % is what the default observer cuts."""
LOW_SQNR = 25.0
"""dB of a tensor's own rounding. Of 8 bits over a normal distribution's range 40 are left, of 4 bits about 17."""
POOR_SQNR = 15.0
"""dB: the error is a fifth of the values."""
WIDE = 8.0
"""Ratio of ranges at which three of the bits are lost to the smaller one."""
SHIFTED = 0.3
"""Share of the squared error that the channels' mean errors make, above which taking them off pays."""
HIGH_SQNR = 30.0
"""dB: a tensor whose accumulated error is smaller needs no help."""
STRETCHED = 30.0
"""Largest magnitude over the standard deviation: few values decide over the scale of all."""


def with_advice(report: Report) -> Report:
    """Return the report with what each layer should try; what concerns an input is said of it by name."""
    by_layer: dict[str, list[Advice]] = {}
    for tensor in report.tensors:
        found = [advice for rule in TENSOR_RULES if (advice := rule(tensor)) is not None]
        by_layer.setdefault(tensor.layer.partition(":")[0], []).extend(found)
    layers = []
    for layer in report.layers:
        own = [advice for rule in LAYER_RULES if (advice := rule(layer)) is not None]
        # A name may itself hold a colon; then it is found whole.
        found = by_layer.get(layer.layer.partition(":")[0], [])
        layers.append(dataclasses.replace(layer, advice=tuple(dict.fromkeys([*own, *found]))))
    return dataclasses.replace(report, layers=layers)


def _clipping(tensor: TensorRecord) -> Advice | None:
    if tensor.kind == WEIGHTS or tensor.clip_rate < CLIPPED:
        return None
    return Advice(
        f"{_share(tensor.clip_rate)} of its values are clipped",
        "calibrate on more samples, or with --observer mse or minmax",
    )


def _outliers(tensor: TensorRecord) -> Advice | None:
    deviation = tensor.variance**0.5
    largest = max(abs(tensor.min), abs(tensor.max))
    if tensor.kind == WEIGHTS or tensor.clip_rate > 0.0 or tensor.sqnr >= LOW_SQNR:
        return None
    if largest < STRETCHED * deviation:
        return None
    return Advice(
        f"its largest value is {largest / deviation:.0f} standard deviations away and decides over the scale",
        "calibrate with --observer percentile or mse",
    )


def _channels(tensor: TensorRecord) -> Advice | None:
    if tensor.kind == WEIGHTS or tensor.spread < WIDE or tensor.sqnr >= LOW_SQNR:
        return None
    return Advice(f"few channels dominate: the largest is {tensor.spread:.0f}x the median one", "--equalize")


def _one_weight_scale(tensor: TensorRecord) -> Advice | None:
    if tensor.kind != WEIGHTS or tensor.scales > 1 or tensor.spread < WIDE:
        return None
    return Advice(
        f"one scale for channels whose weights differ {tensor.spread:.0f}x", "--per-channel, or --equalize"
    )


def _coarse_weights(tensor: TensorRecord) -> Advice | None:
    if tensor.kind != WEIGHTS or tensor.sqnr >= LOW_SQNR:
        return None
    remedy = "--weight-observer mse, or a --rounding for the layer's result"
    if tensor.bits < 8:
        remedy = f"more than {tensor.bits} bits, {remedy}"
    return Advice(f"its weights keep only {tensor.sqnr:.0f} dB", remedy)


def _coarse_activation(tensor: TensorRecord) -> Advice | None:
    if tensor.kind == WEIGHTS or tensor.sqnr >= POOR_SQNR:
        return None
    remedy = (
        f"more than {tensor.bits} bits" if tensor.bits < 8 else "--skip-layers keeps what reads it in float"
    )
    return Advice(f"rounding leaves {tensor.sqnr:.0f} dB of what it gives", remedy)


def _bias_shift(tensor: TensorRecord) -> Advice | None:
    accumulated = tensor.accumulated_sqnr
    if accumulated is None or accumulated >= HIGH_SQNR or tensor.bias_share < SHIFTED:
        return None
    return Advice(
        f"constant offsets of its channels are {_share(tensor.bias_share)} of the squared error",
        "--bias-correction sequential, with more samples where that is on already",
    )


TENSOR_RULES: tuple[Callable[[TensorRecord], Advice | None], ...] = (
    _clipping,
    _outliers,
    _channels,
    _one_weight_scale,
    _coarse_weights,
    _coarse_activation,
    _bias_shift,
)


def _unequal_operands(layer: LayerRecord) -> Advice | None:
    alive = [value for value in layer.operands if value > 0.0]
    if len(alive) < 2 or layer.status == "float" or max(alive) < WIDE * min(alive):
        return None
    return Advice(f"inputs differ {max(alive) / min(alive):.0f}x in range", "skip it or equalize")


LAYER_RULES: tuple[Callable[[LayerRecord], Advice | None], ...] = (_unequal_operands,)


def remedy_for(scheme: str, report: Report | None = None) -> str:
    """Return what to try where outputs are too far from float's: about the worst layer where a report knows it."""
    worst = _worst_advice(report) if report is not None else None
    if worst is not None:
        layer, advice = worst
        return f"first of all for layer {layer!r}: {advice}"
    found = get_scheme(scheme)
    if found.weight_only:
        few = "--weight-bits of more, or a --group-size"
    elif found.searched:
        few = "a larger budget or --min-cosine"
    elif found.dynamic:
        few = "--skip-layers for the worst layers"
    elif min(found.weight_bits, found.activation_bits) < 8:
        few = "--rounding reconstruct, --layer-bits with more for single layers"
    else:
        few = "--observer mse, --equalize, --rounding hessian"
    last = "" if found.weight_only else "; --accuracy-data puts the worst layers back to float"
    return f"try {few}{last}; --report DIR says which layers are to blame"


def _worst_advice(report: Report) -> tuple[str, Advice] | None:
    """Return the name and the first advice of the layer, among those that have any, whose tensors are the worst."""
    advised = {layer.layer: layer.advice[0] for layer in report.layers if layer.advice}
    tensors = [tensor for tensor in report.tensors if tensor.layer.partition(":")[0] in advised]
    if not tensors:
        return None
    name = min(tensors, key=lambda tensor: tensor.sqnr).layer.partition(":")[0]
    return name, advised[name]


def _share(value: float) -> str:
    return f"{100.0 * value:.3g} %"
