"""How the places of weights, floats in units of their steps, come from what is learned.

    straight    z = p
    dorefa      z = L tanh(p / L) / max |tanh(p / L)|           (Zhou et al., "DoReFa-Net", 2016)
    low rank    z = z0 + a b,    a [rows, r],  b [r, columns]    (Hu et al., "LoRA", 2022)

What comes of them is rounded and limited all the same. ``dorefa`` draws weights together, whose outliers so hold no
step. ``low-rank`` learns few numbers of large matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tvm import relax

from ...errors import unknown
from ..annotate.learning import WEIGHT_FORMS
from ..hub.graph import constant, number
from ..hub.pairs import WeightPair
from ..hub.parameters import MAX_BITS
from ..improve.learned import starting_places
from .parameter import PLACES, Parameter

BEND = 0.95
"""Where the largest weight lies on the hyperbolic tangent."""

WITHIN = 0.499
"""Beyond the first and the last integer, up to where a weight still moves."""

ValueOf = Callable[[str, str, np.ndarray], relax.Expr]
"""``(kind, name, what it is otherwise) -> the parameter, or a constant``."""


class WeightForm(Protocol):
    """One way."""

    def parameters(self, pair: WeightPair, unit: float) -> Iterator[Parameter]:
        """Give what is learned, for a pair whose places move in such units."""
        ...

    def places(self, builder: relax.BlockBuilder, pair: WeightPair, value_of: ValueOf) -> relax.Expr:
        """Return the places, of the weights' shape."""
        ...

    def learned(self, pair: WeightPair, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return the places of learned values, by their keys; None where nothing of the pair has been learned."""
        ...


@dataclass(frozen=True)
class Straight:
    """The places themselves are learned."""

    def parameters(self, pair: WeightPair, unit: float) -> Iterator[Parameter]:
        yield Parameter(pair.name, PLACES, starting_places(pair), unit)

    def places(self, builder: relax.BlockBuilder, pair: WeightPair, value_of: ValueOf) -> relax.Expr:
        return value_of(PLACES, pair.name, starting_places(pair))

    def learned(self, pair: WeightPair, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return values.get(f"{PLACES}:{pair.name}")


@dataclass(frozen=True)
class DoReFa:
    """Numbers that a hyperbolic tangent bends."""

    def parameters(self, pair: WeightPair, unit: float) -> Iterator[Parameter]:
        yield Parameter(pair.name, PLACES, self._starting(pair), unit)

    def places(self, builder: relax.BlockBuilder, pair: WeightPair, value_of: ValueOf) -> relax.Expr:
        largest = self._largest(pair)
        numbers = value_of(PLACES, pair.name, self._starting(pair))
        bent = builder.emit(relax.op.tanh(builder.emit(relax.op.multiply(numbers, number(1.0 / largest)))))
        most = builder.emit(relax.op.max(builder.emit(relax.op.abs(bent))))
        share = builder.emit(relax.op.divide(bent, most))
        return builder.emit(relax.op.multiply(share, number(largest)))

    def learned(self, pair: WeightPair, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        numbers = values.get(f"{PLACES}:{pair.name}")
        if numbers is None:
            return None
        bent = np.tanh(numbers / np.float32(self._largest(pair)))
        return bent / np.abs(bent).max() * np.float32(self._largest(pair))

    def _largest(self, pair: WeightPair) -> float:
        """Return the size of the largest place, which stays what it is."""
        return float(np.abs(starting_places(pair)).max()) or 1.0

    def _starting(self, pair: WeightPair) -> np.ndarray:
        largest = self._largest(pair)
        return (largest * np.arctanh(BEND * starting_places(pair) / largest)).astype(np.float32)


@dataclass(frozen=True)
class LowRank:
    """Places as they begin, and a product of two narrow matrices.

    Attributes
    ----------
    rank : columns of the first.
    seed : of where it begins; the second begins at zero.
    """

    rank: int
    seed: int = 0

    def parameters(self, pair: WeightPair, unit: float) -> Iterator[Parameter]:
        rows, columns = _matrix(pair)
        rng = np.random.default_rng((self.seed, *pair.name.encode()))
        left = rng.standard_normal((rows, self.rank)).astype(np.float32)
        yield Parameter(f"{pair.name}:left", PLACES, left, unit)
        yield Parameter(f"{pair.name}:right", PLACES, np.zeros((self.rank, columns), np.float32), unit)

    def places(self, builder: relax.BlockBuilder, pair: WeightPair, value_of: ValueOf) -> relax.Expr:
        parts = [value_of(PLACES, each.name, each.values) for each in self.parameters(pair, 1.0)]
        product = builder.emit(relax.op.matmul(*parts))
        change = builder.emit(relax.op.reshape(product, pair.values.shape))
        return builder.emit(relax.op.add(constant(starting_places(pair)), change))

    def learned(self, pair: WeightPair, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        left, right = (values.get(f"{PLACES}:{pair.name}:{side}") for side in ("left", "right"))
        if left is None or right is None:
            return None
        return starting_places(pair) + (left @ right).reshape(pair.values.shape)


def _matrix(pair: WeightPair) -> tuple[int, int]:
    """Return rows and columns of weights as a matrix."""
    rows = pair.values.shape[0]
    return rows, math.prod(pair.values.shape[1:])


def rounded(
    builder: relax.BlockBuilder,
    places: relax.Expr,
    limits: tuple[float, float],
    bits: int,
    finer: relax.Expr,
) -> relax.Expr:
    """Return the integers that places stand for: of fewer than 8 bits the steps are divided by ``finer``."""
    low, high = limits
    within = builder.emit(relax.op.clip(places, low - WITHIN, high + WITHIN))
    if bits >= MAX_BITS:
        return builder.emit(relax.op.round(within))
    whole = builder.emit(relax.op.round(builder.emit(relax.op.multiply(within, finer))))
    return builder.emit(relax.op.divide(whole, finer))


STRAIGHT_FORM = Straight()
STRAIGHT, DOREFA, LOW_RANK = WEIGHT_FORMS


def form_of(name: str, rank: int, seed: int) -> WeightForm:
    """Return the form of that name; raises ``TvmqError`` for an unknown one."""
    if name not in WEIGHT_FORMS:
        raise unknown("form of weights", name, WEIGHT_FORMS)
    forms: dict[str, WeightForm] = {
        STRAIGHT: STRAIGHT_FORM,
        DOREFA: DoReFa(),
        LOW_RANK: LowRank(rank, seed),
    }
    return forms[name]
