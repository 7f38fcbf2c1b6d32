"""How much each layer alone, quantized to each number of bits, takes off the model's outputs; all others are in float.

errors[layer][bits] = 1 - cosine of the outputs to the float model's         (``search.mixtures``)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from ..passes.calibrate.watch import Progress
from .mixtures import Mixtures
from .recipe import FLOAT
from .state import SearchState


def sensitivity(
    mixtures: Mixtures,
    candidates: Mapping[str, Sequence[int]],
    state: SearchState,
    progress: Progress | None = None,
    weights_only: bool = False,
) -> dict[str, dict[int, float]]:
    """Return the errors of single layers.

    Parameters
    ----------
    candidates : of each layer that is looked at, the bits that are tried; ``FLOAT`` among them makes no error.
    state : keeps each measurement, and has those that were made before.
    weights_only : leave the activations that the layer reads in float.

    Raises
    ------
    TvmqError : the state cannot be written.
    """
    measure = mixtures.weight_error if weights_only else mixtures.error
    kind = "weights" if weights_only else "layer"
    errors: dict[str, dict[int, float]] = {}
    total = sum(len(tried) for tried in candidates.values())
    with nullcontext() if progress is None else progress("sensitivity of layers", total) as bar:
        for layer, tried in candidates.items():
            errors[layer] = {}
            for bits in tried:
                alone = partial(measure, {layer: bits})
                error = 0.0 if bits == FLOAT else state.measure(f"{kind} {layer} {bits}", alone)
                errors[layer][bits] = error
                if bar is not None:
                    bar.update(1)
    return errors
