"""What ``Calibrate`` asks of an observer."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Observer(Protocol):
    """Watches a tensor over the samples, in one pass and constant memory, and says which range to represent.

    It is made with ``steps``, the number of steps between the integers: 255 for 8 bits.
    """

    def update(self, array: np.ndarray) -> None:
        """Take in the tensor's value for one sample: finite floats of any shape."""

    def range(self) -> tuple[float, float]:
        """Return the range to represent, low <= 0 <= high; (0, 0) before the first sample."""
