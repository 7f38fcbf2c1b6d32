"""Options that a scheme has no use for: what a user asks for and does not get is an error.

A weight-only scheme calibrates no activations; the others have no groups, no codebooks and integers of 2 to 8 bits. A
dynamic one has rows of 8 bits, whose scales nobody knows before the model runs, and may have no samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ...errors import TvmqError
from ..hub.parameters import MAX_BITS
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
    *("quantize_first", "quantize_last", "pair_safe_weights", "fine_tune"),
    *OF_WEIGHT_ONLY,
)

REFUSED_BY_DYNAMIC = {
    "activation_bits": "rows have 8 bits",
    "power_of_two": "scales of rows are what their numbers make them",
    "hardware": "it finds scales while the model runs",
    "mixed_auto_tune": "it does not run the model",
    "activation_scales": "its scales are dynamic",
}
"""Options without effect in a dynamic scheme, and why."""

NEED_SAMPLES = (
    *("observer", "rounding", "equalize", "absorb_bias", "equalize_activations", "smooth"),
    *("bias_correction", "float_below", "fine_tune"),
)
"""Options that look at values."""

WITHOUT_SAMPLES: dict[str, tuple[Any, ...]] = {
    "rounding": ("nearest",),
    "bias_correction": ("none", "analytic"),
    "float_below": (0.0,),
}
"""Values of these that look at none."""


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
    if scheme.dynamic:
        _check_dynamic(scheme, options, changed)
    bits = options.weight_bits
    if bits is not None and (bits == 1 or bits > 8):
        raise TvmqError(
            f"weight_bits must be from 2 to 8 for the scheme {scheme.name!r}, or 0, got {bits}; 'weight-only' takes "
            "1 to 16, and the scheme 'binary' has 1"
        )


def check_samples(scheme: Scheme, options: QuantizeOptions, has_samples: bool) -> None:
    """Raise ``TvmqError`` for an option that looks at values, in a scheme that needs no samples and has none."""
    if has_samples or not (scheme.dynamic or scheme.weight_only):
        return
    for name in NEED_SAMPLES if scheme.dynamic else ("fine_tune",):
        value = getattr(options, name)
        if value != _defaults()[name] and value not in WITHOUT_SAMPLES.get(name, ()):
            raise TvmqError(
                f"{name} needs calibration samples, which the scheme {scheme.name!r} goes without"
            )


def _check_dynamic(scheme: Scheme, options: QuantizeOptions, changed: Sequence[str]) -> None:
    for name in changed:
        if name in REFUSED_BY_DYNAMIC:
            why = REFUSED_BY_DYNAMIC[name]
            raise TvmqError(f"{name} has no effect with the scheme {scheme.name!r}: {why}")
    if options.rounding == "reconstruct":
        raise TvmqError(f"rounding 'reconstruct' does not know the scheme {scheme.name!r}; 'hessian' does")
    for pattern, bits in options.bits.items():
        if bits == 1 or (not isinstance(bits, int) and tuple(bits)[1:] != (MAX_BITS,)):
            raise TvmqError(
                f"bits of layer {pattern!r}: the scheme {scheme.name!r} takes those of the weights alone, 2 to 8, got "
                f"{bits!r}"
            )


def _defaults() -> dict[str, Any]:
    """Return the default of each option."""
    return {
        each.name: each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        for each in dataclasses.fields(QuantizeOptions)
    }
