"""What the float model gives for the first few samples, kept while it runs on them for another reason.

Whoever compares the quantized model with it afterwards need not compile and run it once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sample_check import Sample

SAMPLES = 8
"""That are kept."""
BYTES = 2**26
"""Beyond which no more are kept: outputs may be images."""


class KeptOutputs:
    """Samples with the model's outputs for each.

    Attributes
    ----------
    pairs : the samples and their outputs, in the order of the model's.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Sample, list[np.ndarray]]] = []
        self._bytes = 0

    def restart(self) -> None:
        """Forget all: the model runs anew."""
        self.pairs, self._bytes = [], 0

    def update(self, sample: Sample, outputs: Sequence[np.ndarray]) -> None:
        """Take in a sample with its outputs, if it is one of the first."""
        if len(self.pairs) < SAMPLES and self._bytes < BYTES:
            copy = {name: np.array(array) for name, array in sample.items()}
            self.pairs.append((copy, [np.array(array) for array in outputs]))
            self._bytes += sum(array.nbytes for array in (*copy.values(), *outputs))
