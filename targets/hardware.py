"""What an accelerator can do, as its maker describes it: the limits within which a model for it is quantized.

A ``TargetRow`` is what the kernels here know of a CPU; this is a device with kernels of its own. It restricts
a scheme and the user's choices, and nothing is written for it in Python.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import TvmqError, unknown

GRANULARITIES = ("tensor", "channel")
SYMMETRIES = ("symmetric", "asymmetric")
SCALES = ("float", "power-of-two")
SMALLEST_BITS, LARGEST_BITS = 2, 8


@dataclass(frozen=True)
class Hardware:
    """An accelerator.

    Attributes
    ----------
    name : for reports and errors.
    operators : types of the ONNX operators that it runs on integers.
    weight_bits, activation_bits : the widths that it has, 2 to 8.
    weight_granularity : of ``GRANULARITIES``, what one weight scale may be for; the first is the default.
    activations : of ``SYMMETRIES``, where the zero point of activations may be; the first is the default. Weights are
        always symmetric.
    scales : of ``SCALES``, which scales it can apply.
    """

    name: str
    operators: tuple[str, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    weight_granularity: tuple[str, ...]
    activations: tuple[str, ...]
    scales: str = "float"

    def __post_init__(self) -> None:
        if not self.operators:
            raise TvmqError(f"the hardware {self.name!r} has no operators")
        for field in ("weight_bits", "activation_bits"):
            for bits in getattr(self, field):
                if not SMALLEST_BITS <= bits <= LARGEST_BITS:
                    raise TvmqError(f"{field} must be from {SMALLEST_BITS} to {LARGEST_BITS}, got {bits}")
        for field, valid in (("weight_granularity", GRANULARITIES), ("activations", SYMMETRIES)):
            names = getattr(self, field)
            if not names:
                raise TvmqError(f"{field} is empty; valid: {', '.join(valid)}")
            for name in names:
                if name not in valid:
                    raise unknown(field.replace("_", " "), name, valid)
        if self.scales not in SCALES:
            raise unknown("kind of scales", self.scales, SCALES)
