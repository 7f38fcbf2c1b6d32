"""What is learned of a network: kinds of parameters, and their units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PLACES, WEIGHT_SCALES, BIASES, STEPS, CONSTANTS = "places", "weight_scales", "biases", "steps", "constants"
OFFSETS, ENTRIES = "offsets", "entries"
CENTRES, GAINS, MEANS, DEVIATIONS = "centres", "gains", "means", "deviations"
KINDS = (
    *(PLACES, WEIGHT_SCALES, BIASES, STEPS, OFFSETS, ENTRIES, CONSTANTS),
    *(CENTRES, GAINS, MEANS, DEVIATIONS),
)
AVERAGES = (MEANS, DEVIATIONS)
"""Those that follow what batches show, and not gradients."""

RATES = {
    PLACES: 1.0,
    WEIGHT_SCALES: 0.2,
    BIASES: 1.0,
    STEPS: 0.2,
    OFFSETS: 1.0,
    ENTRIES: 1.0,
    CONSTANTS: 0.2,
    CENTRES: 1.0,
    GAINS: 0.2,
    MEANS: 0.0,
    DEVIATIONS: 0.0,
}
"""Of learning, of each kind in its units, where the rate is 1."""


@dataclass(frozen=True)
class Parameter:
    """Numbers that are learned.

    Attributes
    ----------
    name : of the pair, layer or operand, behind the kind.
    kind : one of ``KINDS``.
    values : float32, as they begin.
    unit : of a change, a number or an array of the values' shape: rates of learning are in such units.
    """

    name: str
    kind: str
    values: np.ndarray
    unit: np.ndarray | float

    @property
    def key(self) -> str:
        """The name of the function's parameter."""
        return f"{self.kind}:{self.name}"
