"""What a user may say about the search for each layer's bits, and about control of a model's accuracy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass

from ..errors import TvmqError
from ..passes.hub.packing import STORED_BITS
from .metrics import Metric

BUDGETS = ("bit_budget", "latency_budget", "min_cosine", "metric")
MIN_COSINE = 0.995
"""What the outputs keep where no budget is given: the mean cosine to those of the float model."""

_SIZES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_AMOUNT = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)")


@dataclass(frozen=True)
class BitBudget:
    """How large the weights may become: so many bytes in all, or bits each on average."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> BitBudget:
        """Read ``"4.0bits"``, ``"1.9MB"`` and the like; raises ``TvmqError``."""
        amount = _amount(text, ("bits", *_SIZES))
        if amount is None:
            raise TvmqError(f"the budget {text!r} must be such as '4.0bits' (a weight), '900kB' or '1.9MB'")
        return cls(*amount)

    def bytes(self, weights: int) -> float:
        """Return the budget in bytes for a model of so many weights."""
        return weights * self.amount / 8 if self.unit == "bits" else self.amount * _SIZES[self.unit]


@dataclass(frozen=True)
class SearchOptions:
    """Choices of the search; at most one budget may be given.

    Attributes
    ----------
    bit_budget : the size of the quantized weights together: ``"4.0bits"`` a weight on average, or ``"1.9MB"``. The
        search finds the smallest error within it.
    latency_budget : the time of a run on the target, as measured: ``"2.5ms"``. The search finds the smallest error
        within it; layers for which there is time stay in float.
    min_cosine : what each output must keep, the mean cosine to that of the float model. The search finds the smallest
        weights that do, and leaves layers in float where it must. Where there is no budget at all this is it, with
        ``MIN_COSINE``.
    metric : ``metric(run) -> float``, higher is better, where ``run`` maps inputs by name to outputs by name. The
        search finds the smallest weights with which it is at most ``max_drop`` below the float model's.
    max_drop : in the metric's own units.
    candidates : the numbers of bits that a layer's weights may get, each from 2 to 8. None takes those for which there
        are kernels: 2, 4 and 8.
    samples : each error is measured on so many of the calibration samples.
    trials : mixtures that are measured to better what follows from the single layers.
    state : a file for all that has been measured: a search that was broken off goes on from there.
    output : a TOML file for the bits that were found, which ``read_config`` reads.
    """

    bit_budget: str | None = None
    latency_budget: str | None = None
    min_cosine: float | None = None
    metric: Metric | None = None
    max_drop: float = 0.01
    candidates: tuple[int, ...] | None = None
    samples: int = 32
    trials: int = 40
    state: str | os.PathLike[str] | None = None
    output: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        given = [which for which in BUDGETS if getattr(self, which) is not None]
        if len(given) > 1:
            raise TvmqError(f"the search takes one budget, not {' and '.join(given)}")
        candidates = self.candidates
        if candidates is None:
            candidates = STORED_BITS
        if not candidates or not all(isinstance(bits, int) and 2 <= bits <= 8 for bits in candidates):
            raise TvmqError(f"the candidates must be numbers of bits from 2 to 8, got {self.candidates!r}")
        object.__setattr__(self, "candidates", tuple(sorted(set(candidates))))
        if self.bit_budget is not None:
            BitBudget.parse(self.bit_budget)
        if self.latency_budget is not None:
            seconds(self.latency_budget)
        check_drop(self.max_drop)
        if self.min_cosine is not None and not 0 < self.min_cosine < 1:
            raise TvmqError(f"the smallest cosine must be between 0 and 1, got {self.min_cosine}")
        for which, least in (("samples", 1), ("trials", 0)):
            if getattr(self, which) < least:
                raise TvmqError(f"{which} of the search must be at least {least}, got {getattr(self, which)}")
        if self.output is not None and os.path.splitext(self.output)[1] != ".toml":
            raise TvmqError(f"what was found is written as a .toml file, not to {str(self.output)!r}")

    @property
    def has_budget(self) -> bool:
        return any(getattr(self, which) is not None for which in BUDGETS)


def seconds(text: str) -> float:
    """Return a time in seconds of ``"2.5ms"`` and the like; raises ``TvmqError``."""
    amount = _amount(text, _TIMES)
    if amount is None:
        raise TvmqError(f"the latency budget {text!r} must be such as '2.5ms', '800us' or '1s'")
    return amount[0] * _TIMES[amount[1]]


def check_drop(max_drop: float) -> None:
    """Raise ``TvmqError`` for a drop that is none."""
    if not (max_drop >= 0 and math.isfinite(max_drop)):
        raise TvmqError(f"the drop that is allowed must be a number of at least 0, got {max_drop}")


def _amount(text: str, units: Collection[str]) -> tuple[float, str] | None:
    """Return a positive number and its unit; None for anything else."""
    match = _AMOUNT.fullmatch(text.strip())
    try:
        amount = float(match[1]) if match else math.nan
    except ValueError:
        return None
    return (amount, match[2]) if amount > 0 and math.isfinite(amount) and match[2] in units else None
