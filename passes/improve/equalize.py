"""Cross-layer equalization: factors a channel between two layers that make their weights' ranges alike.

    s_i = sqrt(r1_i / r2_i),   W1_i <- W1_i / s_i,   b1_i <- b1_i / s_i,   W2_i <- W2_i s_i

``r1_i`` is the range of the weights that give channel i, ``r2_i`` of those that read it; both become
``sqrt(r1_i r2_i)``. One pair of layers after the other, again and again until no factor differs from 1 (Nagel et al.,
"Data-free quantization through weight equalization and bias correction", 2019, section 4.1). The float model stays the
same up to rounding.

The paper replaces relu6 by relu, which is another model. Here the limit stays, one number for all channels, and
the factors give way: a channel that reaches the limit in some sample keeps the factor 1, and no other channel is
enlarged beyond the limit. So on the samples the float model is still the same; on others it may differ where
a value exceeds what the samples showed.
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
from .chains import Chain, ChannelRange, Weights, chains_of

logger = logging.getLogger(__name__)

SWEEPS = 40
"""Over all chains at most; networks of 50 layers take about 20."""
TOLERANCE = 1e-3
"""Of a factor's logarithm, below which the ranges count as equal."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.Equalize")
@dataclass(frozen=True)
class Equalize:
    """Equalize the ranges of the weights in every chain; requires a prepared float module without pairs.

    Attributes
    ----------
    samples : as for ``Calibrate``; only read where a chain has an upper limit.
    runner, progress : as for ``Calibrate``.
    """

    samples: Iterable[Sample]
    runner: Runner = compile_for_host
    progress: Progress | None = None

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with other weights and biases.

        Raises
        ------
        TvmqError : as ``watch`` does.
        """
        chains = chains_of(mod)
        if not chains:
            logger.warning("equalize has no effect: no layer's result goes to one other layer alone")
            return mod
        largest = {chain.clipped: ChannelRange() for chain in chains if chain.clipped is not None}
        if largest:
            watchers = {var: [watcher] for var, watcher in largest.items()}
            watch(mod, watchers, self.samples, self.runner, self.progress, "equalize")
        reach = {
            chain.second: largest[chain.clipped].high / chain.upper
            for chain in chains
            if chain.clipped is not None
        }
        weights = Weights.of(mod)
        for _ in range(SWEEPS):
            if max(_equalize(weights, chain, reach) for chain in chains) < TOLERANCE:
                break
        return weights.put_into(mod)


def _equalize(weights: Weights, chain: Chain, reach: dict) -> float:
    """Scale one chain; return the largest logarithm of a factor.

    ``reach`` has, by the second operator, the largest value of each channel as a share of the limit, ``[C]``.
    """
    before, behind = weights.output_ranges(chain.first), weights.input_ranges(chain.second)
    used = (before > 0.0) & (behind > 0.0)
    factors = np.sqrt(np.where(used, before, 1.0) / np.where(used, behind, 1.0))
    if chain.second in reach:
        share = reach[chain.second]
        factors = np.where(share >= 1.0, 1.0, np.maximum(factors, share))
        reach[chain.second] = np.where(share >= 1.0, share, share / factors)
    weights.scale(chain, factors)
    return float(np.abs(np.log(factors)).max(initial=0.0))
