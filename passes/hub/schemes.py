"""Quantization schemes: one frozen row each."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import unknown
from ...targets.row import LaneSums

ROUNDINGS = ("nearest", "hessian", "reconstruct")
"""How weights become integers: each to the nearest; all for the layer's result (``passes.improve.rounding``); or so,
and then for the block's result (``passes.improve.reconstruct``)."""


@dataclass(frozen=True)
class Scheme:
    """How tensors are quantized.

    Attributes
    ----------
    name : what users type.
    weight_bits, activation_bits : width of the integers, 2 to 8. Activations of fewer than 8 are stored in 8.
    edge_bits : width of both for the first and the last weighted layer, and of what the first gives: lower bits hurt
        there most.
    depthwise_bits : width of both for depthwise convolutions; None for that of all others. Their weights are few, and
        what they read has its errors in no sum over channels.
    other_bits : width of activations for operators without weights, sums and averages above all: few bits would spare
        them nothing, and a sum carries its error through all blocks.
    narrow_range : weights of fewer bits leave out their smallest integer: those of 2 bits are ternary.
    per_channel : one weight scale an output channel; else one a tensor. Weights are always symmetric.
    symmetric_activations : zero point in the middle of the dtype.
    power_of_two : every scale is a power of two.
    activation_dtype : ``"uint8"`` or ``"int8"``.
    lane_sums : what weights that meet in a lane may sum up to, by sign, where the target's fast multiply adds their
        products in int16 (``passes.hub.lane_sums``); None for any.
    observer, weight_observer : of activations and of weights, where the user names none; None takes the default.
    equalize_activations : how far channels of activations are made alike, from 0 to 1, where the user does not say.
        What weights of few bits must take back costs them more than it gains; what is free for them is done wholly.
    rounding : one of ``ROUNDINGS``, where the user names none. Few bits need the better one, which takes longer.
    float_below : small layers whose input's rounding leaves less of their result than so many decibels stay in float,
        where the user does not say (``passes.improve.spare_layers``); 0 for none.
    binary : weighted layers get weights and activations of one bit, all but the first, the last and depthwise ones
        (``passes.improve.binarize``); the numbers of bits are those of the others.
    searched : the bits of each layer's weights are searched for (``search``); ``weight_bits`` counts for no layer then.
    weight_only : activations stay float, and weights are compressed (``passes.weight_only``).
    activation_scales : as in ``QuantizeOptions``, where the user does not say; None leaves matrix products as they are.
    dynamic : matrix products with weights find the scale of each row while they run (``passes.hub.row_pairs``), and
        need no samples; only what else there are samples for has scales of its tensors.
    """

    name: str
    weight_bits: int = 8
    activation_bits: int = 8
    edge_bits: int = 8
    depthwise_bits: int | None = None
    other_bits: int = 8
    narrow_range: bool = False
    per_channel: bool = True
    symmetric_activations: bool = False
    power_of_two: bool = False
    activation_dtype: str = "uint8"
    lane_sums: LaneSums | None = None
    observer: str | None = None
    weight_observer: str | None = None
    equalize_activations: float = 0.0
    rounding: str = "nearest"
    float_below: float = 0.0
    binary: bool = False
    searched: bool = False
    weight_only: bool = False
    activation_scales: str | None = None
    dynamic: bool = False


SCHEMES: dict[str, Scheme] = {
    row.name: row
    for row in (
        Scheme("int8", activation_scales="auto", float_below=20.0),
        *(Scheme(name, weight_bits=4, depthwise_bits=8, rounding="hessian") for name in ("int4", "w4a8")),
        Scheme(
            "w4a4",
            weight_bits=4,
            activation_bits=4,
            depthwise_bits=8,
            observer="mse",
            equalize_activations=0.05,
            rounding="hessian",
        ),
        *(
            Scheme(name, weight_bits=2, depthwise_bits=8, weight_observer="mse", rounding="hessian")
            for name in ("int2", "w2a8")
        ),
        Scheme(
            "w2a2",
            weight_bits=2,
            activation_bits=2,
            depthwise_bits=8,
            observer="mse",
            weight_observer="mse",
            rounding="hessian",
        ),
        Scheme(
            "ternary",
            weight_bits=2,
            narrow_range=True,
            depthwise_bits=8,
            weight_observer="mse",
            rounding="hessian",
        ),
        Scheme("binary", float_below=20.0, binary=True),
        Scheme("mixed", rounding="hessian", searched=True),
        Scheme("weight-only", weight_only=True),
        Scheme("dynamic", dynamic=True),
    )
}


def get_scheme(name: str) -> Scheme:
    """Return the row of that name; raises ``TvmqError`` with the close matches for an unknown one."""
    if name not in SCHEMES:
        raise unknown("quantization scheme", name, SCHEMES)
    return SCHEMES[name]
