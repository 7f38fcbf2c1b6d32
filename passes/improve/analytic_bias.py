"""Bias correction without samples: the mean input of each layer comes from the weights before it.

    b' = b - e E[x]        e: what rounding did to the weights, E[x]: ``passes.improve.moments``

The form of ``CorrectBias`` for whoever has no data (Nagel et al., 2019, section 4.2.1). There the moments come from
batch norms; here they are carried through the network, so that a model whose batch norms were folded long ago will
do. A layer whose input has no known moments keeps its bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import IRModule, relax

from ..hub.graph import bindings_of
from ..hub.pairs import float_form, weight_pairs
from .bias_correction import mean_error, shift_results
from .moments import moments_of


@tvm.transform.module_pass(opt_level=0, name="tvmq.CorrectBiasFromWeights")
@dataclass(frozen=True)
class CorrectBiasFromWeights:
    """Take the mean error of rounded weights off the biases; requires weights with known scales, still float."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with corrected biases; a layer without a bias gets one."""
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        pairs = {reader: pair for pair in weight_pairs(mod) for reader in pair.readers if not pair.is_unknown}
        if not pairs:
            return mod
        # The float form has other variables: its weighted results come in the same order as here.
        inputs = float_form(mod, relax.Tuple([values[reader].args[0] for reader in pairs]))
        result = inputs["main"].body.body
        result = next(b.value for b in bindings_of(inputs) if b.var.same_as(result))
        moments = moments_of(inputs)
        shifts = {
            reader: -mean_error(values[reader], pair.error, moments[data].mean)
            for (reader, pair), data in zip(pairs.items(), result.fields, strict=True)
            if data in moments
        }
        return shift_results(mod, shifts)
