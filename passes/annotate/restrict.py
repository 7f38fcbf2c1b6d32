"""A scheme, within what the user asked for and the hardware has.

    scheme, options, hardware --> scheme

What the user leaves open falls to the first that the hardware has; what the user asks for and it lacks is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ...errors import TvmqError
from ...targets.hardware import Hardware
from ..hub.bits import Bits
from ..hub.schemes import Scheme
from .options import QuantizeOptions
from .scheme_options import check_options


def restrict(scheme: Scheme, options: QuantizeOptions) -> Scheme:
    """Return the scheme with the user's bits, granularity and symmetry, or those of the hardware.

    Raises
    ------
    TvmqError : the user or the scheme asks for what the hardware lacks, or the user for what the scheme has no use for.
    """
    check_options(scheme, options)
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("weight_bits", "activation_bits", "depthwise_bits", "per_channel")
        if getattr(options, name) is not None
    }
    if options.has_mixed_bits:
        del changes["weight_bits"]  # of what is not weighted; each layer gets its own
    if options.activations is not None:
        changes["symmetric_activations"] = options.activations == "symmetric"
    changes["power_of_two"] = scheme.power_of_two or options.power_of_two
    scheme = dataclasses.replace(scheme, **changes)
    if options.hardware is None:
        return scheme
    hardware = options.hardware
    for what, bits, valid in (
        ("weights", scheme.weight_bits, hardware.weight_bits),
        ("activations", scheme.activation_bits, hardware.activation_bits),
    ):
        if bits not in valid:
            raise _lacks(hardware, f"{what} of {bits} bits", f"{_listed(valid)} bits")
    granularity = _within(
        hardware,
        "weight scales",
        "channel" if scheme.per_channel else "tensor",
        hardware.weight_granularity,
        options.per_channel is not None,
    )
    symmetry = _within(
        hardware,
        "activations",
        "symmetric" if scheme.symmetric_activations else "asymmetric",
        hardware.activations,
        options.activations is not None,
    )
    return dataclasses.replace(
        scheme,
        per_channel=granularity == "channel",
        symmetric_activations=symmetry == "symmetric",
        depthwise_bits=_depthwise_bits(scheme, options, hardware),
        other_bits=min(scheme.other_bits, max(hardware.activation_bits)),
        power_of_two=scheme.power_of_two or hardware.scales == "power-of-two",
    )


def check_bits(bits: Bits, hardware: Hardware) -> None:
    """Raise ``TvmqError`` for a layer that is to have bits which the hardware lacks."""
    for layer, count in bits.weights.items():
        if count not in hardware.weight_bits:
            raise _lacks(hardware, f"weights of {count} bits", f"{_listed(hardware.weight_bits)} bits", layer)
    for layer, count in (*bits.activations.items(), *bits.narrowed.items()):
        if count not in hardware.activation_bits:
            raise _lacks(
                hardware, f"activations of {count} bits", f"{_listed(hardware.activation_bits)} bits", layer
            )


def _depthwise_bits(scheme: Scheme, options: QuantizeOptions, hardware: Hardware) -> int | None:
    """Return what is asked for, or of the scheme's what the hardware has."""
    bits = scheme.depthwise_bits
    if bits is None or options.depthwise_bits is not None:
        return bits
    return min(bits, max(hardware.weight_bits), max(hardware.activation_bits))


def _within(hardware: Hardware, what: str, wanted: str, valid: Sequence[str], asked: bool) -> str:
    """Return what is wanted, or the hardware's first where it lacks that and the user did not ask for it."""
    if wanted in valid:
        return wanted
    if asked:
        raise _lacks(
            hardware, f"{what} by {wanted}" if "scales" in what else f"{wanted} {what}", _listed(valid)
        )
    return valid[0]


def _lacks(hardware: Hardware, wanted: str, valid: str, layer: str = "") -> TvmqError:
    of = f", which layer {layer!r} is to have" if layer else ""
    return TvmqError(f"the hardware {hardware.name!r} has no {wanted}{of}; it has {valid}")


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
