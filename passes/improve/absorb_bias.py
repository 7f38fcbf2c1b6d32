"""High biases of one layer, absorbed by the next.

    relu(y) = relu(y - c) + c  where y >= c >= 0      b1' = b1 - c,   b2' = b2 + W2 c

Equalization can leave a channel whose values are all far above 0, which costs every other channel resolution. ``c`` is
the smallest value that the channel has in the samples before its relu, where that is positive: the paper takes
the mean less three standard deviations, from a batch norm's parameters, and so clips some values; here no value of
the samples changes (Nagel et al., 2019, section 4.1.3). A relu6 is treated alike for channels that never reach 6.
A layer with zero padding is left alone: the zeros around the image would have to be -c.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule

from ..calibrate.sample_check import Sample
from ..calibrate.watch import Progress, Runner, compile_for_host, watch
from ..prepare.affine import is_padded
from .chains import ChannelRange, Weights, chains_of

logger = logging.getLogger(__name__)


@tvm.transform.module_pass(opt_level=0, name="tvmq.AbsorbBias")
@dataclass(frozen=True)
class AbsorbBias:
    """Move biases that keep channels above 0 to the next layer; requires a prepared float module without pairs.

    Attributes
    ----------
    samples, runner, progress : as for ``Calibrate``.
    """

    samples: Iterable[Sample]
    runner: Runner = compile_for_host
    progress: Progress | None = None

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with other biases.

        Raises
        ------
        TvmqError : as ``watch`` does.
        """
        weights = Weights.of(mod)
        chains = [
            chain
            for chain in chains_of(mod)
            if chain.only_limits and chain.bias is not None and not is_padded(weights.calls[chain.second])
        ]
        if not chains:
            logger.warning(
                "absorbing biases has no effect: no layer with a bias goes through relu to one other alone"
            )
            return mod
        axis = {chain.bias: 1 if weights.values[chain.first].ndim == 4 else -1 for chain in chains}
        ranges = {var: ChannelRange(place) for var, place in axis.items()}
        watchers = {var: [watcher] for var, watcher in ranges.items()}
        watch(mod, watchers, self.samples, self.runner, self.progress, "absorb biases")
        for chain in chains:
            found = ranges[chain.bias]
            surplus = np.where(found.high < chain.upper, np.maximum(found.low, 0.0), 0.0)
            weights.shift(chain, surplus)
        return weights.put_into(mod)
