"""Weights whose scales have grown until what meets in a lane keeps the scheme's limit (``passes.hub.lane_sums``)."""

from __future__ import annotations

from tvm import relax

from ..hub.lane_sums import is_merged, limit_sums
from ..hub.pairs import WeightPair, WeightParameters
from ..hub.schemes import Scheme


def within_lanes(pair: WeightPair, call: relax.Call, scheme: Scheme | None) -> WeightParameters:
    """Return the pair's scales and integers, as they are where nothing limits them; ``call`` reads the weights."""
    if scheme is None or scheme.lane_sums is None:
        return WeightParameters(pair.scales, pair.integers)
    integers, scales = limit_sums(
        *(pair.restored, pair.scales, pair.axis, scheme.lane_sums),
        *(is_merged(call, pair.values), pair.limits, scheme.power_of_two),
    )
    return WeightParameters(scales, integers)
