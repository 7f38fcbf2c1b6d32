"""Options that a scheme has no use for: what a user asks for and does not get is an error.

A weight-only scheme calibrates no activations; the others have no groups, no codebooks and integers of 2 to 8 bits.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ...errors import TvmqError
from ..hub.schemes import Scheme
from .options import QuantizeOptions

OF_WEIGHT_ONLY = ("group_size", "codebook")
"""Options that only a weight-only scheme takes."""

OF_INTEGERS = ("group_size", "weight_observer", "power_of_two")
"""Options that say what the scales of integers are."""

TAKEN_BY_WEIGHT_ONLY = (
    *(
        "weight_bits",
        "bits",
        "mixed_start_scale",
        "weight_observer",
        "power_of_two",
        "per_channel",
        "bias_correction",
        "hardware",
    ),
    *("min_weight_size", "min_weight_channels", "skip_layers", "skip_ops", "quantize_only"),
    *("quantize_first", "quantize_last", "pair_safe_weights"),
    *OF_WEIGHT_ONLY,
)


def check_options(scheme: Scheme, options: QuantizeOptions) -> None:
    """Raise ``TvmqError`` for an option without effect in the scheme, or for bits that it does not have."""
    changed = [name for name, default in _defaults().items() if getattr(options, name) != default]
    if scheme.weight_only:
        for name in changed:
            if name not in TAKEN_BY_WEIGHT_ONLY:
                raise TvmqError(
                    f"{name} has no effect with the scheme {scheme.name!r}: its activations stay float"
                )
            if options.codebook and name in OF_INTEGERS:
                raise TvmqError(f"{name} has no effect with a codebook, only with integers")
        return
    for name in changed:
        if name in OF_WEIGHT_ONLY:
            raise TvmqError(f"{name} has no effect with the scheme {scheme.name!r}, only with 'weight-only'")
    bits = options.weight_bits
    if bits is not None and (bits == 1 or bits > 8):
        raise TvmqError(
            f"weight_bits must be from 2 to 8 for the scheme {scheme.name!r}, or 0, got {bits}; 'weight-only' takes "
            "1 to 16, and the scheme 'binary' has 1"
        )


def _defaults() -> dict[str, Any]:
    """Return the default of each option."""
    return {
        each.name: each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        for each in dataclasses.fields(QuantizeOptions)
    }
