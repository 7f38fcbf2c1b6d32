"""Batch norms, folded long since, whose statistics move once more while a network learns.

    u = conv(x, w)      -->      (u - m) / d * g + c

``c`` and ``g`` begin as the mean and the deviation that each channel of ``u`` has in the float model, which is what its
batch norm made them to be, and learn. ``m`` and ``d`` are those of the batch at first, while moving averages follow
them, and these averages in the end: all of it then folds into scales and biases. So what rounding does to the
statistics of a layer does not reach the layers behind it (Krishnamoorthi, "Quantizing deep convolutional networks for
efficient inference", 2018, section 3.2). Frozen statistics, which are those that folding left, need none of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ..calibrate.sample_check import Sample
from ..calibrate.watch import Progress, Runner, watch
from ..hub.graph import bindings_of, constant, layer_name, op_name, shape_of
from ..hub.pairs import weight_pairs
from ..improve.bias_correction import ChannelMean
from .parameter import CENTRES, DEVIATIONS, GAINS, MEANS, WEIGHT_SCALES, Parameter
from .weight_forms import ValueOf

MOMENTUM = 0.95
"""Of moving averages, each step."""
FROZEN_FROM = 0.7
"""Share of the steps behind which the averages stay."""
FEWEST = 64
"""Values of a channel in a batch, at least, of which there are statistics."""
_FLOOR = 1e-3
"""Of a variance, as a share of the float model's: a channel may be constant in a batch."""

_CONVOLUTION = "relax.nn.conv2d"


@dataclass(frozen=True)
class Norm:
    """Statistics of a convolution's channels in the float model.

    Attributes
    ----------
    name : of the pair of its weights.
    mean, deviation : float32 ``[O]``.
    """

    name: str
    mean: np.ndarray
    deviation: np.ndarray

    def parameters(self) -> Iterator[Parameter]:
        """Give what learns, and the averages, which move without gradients."""
        yield Parameter(self.name, CENTRES, self.mean, self.deviation)
        yield Parameter(self.name, GAINS, self.deviation, self.deviation)
        yield Parameter(self.name, MEANS, self.mean, self.deviation)
        yield Parameter(self.name, DEVIATIONS, self.deviation, self.deviation)

    def normalized(
        self, builder: relax.BlockBuilder, result: relax.Var, value_of: ValueOf, share: relax.Expr
    ) -> tuple[relax.Expr, dict[str, relax.Expr]]:
        """Return ``result [N, O, H, W]`` with other statistics, and those of the batch by the averages' keys.

        ``share``, float32 of shape ``()``, is 1 where the statistics are the batch's, 0 where they are the averages.
        """
        emit = builder.emit
        row = (1, len(self.mean), 1, 1)

        def of(kind: str, otherwise: np.ndarray) -> relax.Expr:
            return emit(relax.op.reshape(value_of(kind, self.name, otherwise), row))

        def chosen(own: relax.Expr, average: relax.Expr) -> relax.Expr:
            change = emit(relax.op.multiply(emit(relax.op.subtract(own, average)), share))
            return emit(relax.op.add(average, change))

        mean = emit(relax.op.mean(result, [0, 2, 3], keepdims=True))
        centred = emit(relax.op.subtract(result, mean))
        square = emit(relax.op.mean(emit(relax.op.multiply(centred, centred)), [0, 2, 3], keepdims=True))
        least = constant((_FLOOR * np.square(self.deviation)).reshape(row).astype(np.float32))
        deviation = emit(relax.op.sqrt(emit(relax.op.add(square, least))))
        centre = chosen(mean, of(MEANS, self.mean))
        spread = chosen(deviation, of(DEVIATIONS, self.deviation))
        factor = emit(relax.op.divide(of(GAINS, self.deviation), spread))
        scaled = emit(relax.op.multiply(emit(relax.op.subtract(result, centre)), factor))
        batch = {
            f"{kind}:{self.name}": emit(relax.op.reshape(value, (-1,)))
            for kind, value in ((MEANS, mean), (DEVIATIONS, deviation))
        }
        return relax.op.add(scaled, of(CENTRES, self.mean)), batch


def folded(
    mod: IRModule, values: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the scales that weights have with their norms, by their pairs' names, and what is added to results.

    ``values`` are those of parameters, by their keys.
    """
    scales, shifts = {}, {}
    for pair in weight_pairs(mod):
        if f"{GAINS}:{pair.name}" not in values:
            continue
        gain, centre, mean, deviation = (
            values[f"{kind}:{pair.name}"] for kind in (GAINS, CENTRES, MEANS, DEVIATIONS)
        )
        factor = gain / deviation
        scales[pair.name] = values.get(f"{WEIGHT_SCALES}:{pair.name}", pair.scales) * factor
        shifts[pair.name] = centre - mean * factor
    return scales, shifts


class _Moments:
    """Watches the result of a convolution ``[N, O, H, W]``."""

    def __init__(self) -> None:
        self._mean, self._square = ChannelMean(1), ChannelMean(1)

    def update(self, array: np.ndarray) -> None:
        self._mean.update(array)
        self._square.update(np.square(array, dtype=np.float64))

    def norm(self, name: str) -> Norm:
        mean, square = self._mean.mean, self._square.mean
        deviation = np.sqrt(np.maximum(square - np.square(mean), 1e-12))
        return Norm(name, mean.astype(np.float32), deviation.astype(np.float32))


def norms_of(
    mod: IRModule,
    teacher: IRModule,
    batch: int,
    samples: Iterable[Sample],
    runner: Runner,
    progress: Progress | None,
) -> dict[str, Norm]:
    """Return the norms of a hub's convolutions with a scale a channel, by the names of their weights' pairs.

    Parameters
    ----------
    teacher : the hub in the float form of which statistics are taken.
    batch : samples of a step: of channels with few values in it there are no statistics.
    samples, runner, progress : as for ``watch``.

    Raises
    ------
    TvmqError : as ``watch`` does.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    wanted = {}
    for pair in weight_pairs(mod):
        if len(pair.readers) != 1 or op_name(values[pair.readers[0]]) != _CONVOLUTION:
            continue
        count, channels, *pixels = shape_of(pair.readers[0])
        if len(pair.scales) == channels and batch * count * int(np.prod(pixels)) >= FEWEST:
            wanted[layer_name(values[pair.readers[0]])] = pair.name
    found = {}
    for binding in bindings_of(teacher):
        if op_name(binding.value) == _CONVOLUTION and layer_name(binding.value) in wanted:
            found[binding.var] = wanted[layer_name(binding.value)]
    moments = {var: _Moments() for var in found}
    if moments:
        watchers = {var: [moment] for var, moment in moments.items()}
        watch(teacher, watchers, samples, runner, progress, "statistics of channels")
    return {name: moments[var].norm(name) for var, name in found.items()}
