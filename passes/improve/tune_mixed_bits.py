"""A float module --> the Q/DQ hub with mixed bits, at the largest start scale that the model's output bears.

    t = the largest with  cos(f(w), f(q_b(t)(w))) >= bound,       by bisection, for each output over some samples

``f`` is the model in float: the weights alone are rounded, so that a trial needs no calibration of activations. What t
does is in ``passes.annotate.mixed_bits``. MindSpore Lite has the same search (``auto_tune``), with the same bound.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ...targets.row import TargetRow
from ..annotate.annotate import Annotate
from ..annotate.mixed_bits import rounded
from ..annotate.options import QuantizeOptions
from ..calibrate.nearness import nearness
from ..calibrate.on_samples import RunsModel
from ..calibrate.sample_check import Sample
from ..hub.bits import get_bits
from ..hub.conditions import PAIRS, UNQUANTIZED_MODEL
from ..hub.contract import module_pass
from ..hub.graph import constant, rebuild, results_of, tupled
from ..hub.pairs import transparent, weight_pairs
from ..hub.schemes import Scheme

logger = logging.getLogger(__name__)

TRIALS = 8
SAMPLES = 16
SMALLEST, LARGEST = 0.002, 0.95
"""Between these lie all scales that make a difference: 8 bits, and 2 bits."""


@module_pass(requires=UNQUANTIZED_MODEL, ensures=(PAIRS,))
@dataclass(frozen=True)
class TuneMixedBits(RunsModel):
    """Take the place of ``Annotate`` where the start scale is to be found.

    Attributes
    ----------
    scheme, row, options : as for ``Annotate``; the start scale of the options is tried first.
    samples : the first ``SAMPLES`` of them are used.
    cosine : what the outputs must keep.
    """

    scheme: Scheme
    row: TargetRow | None
    options: QuantizeOptions
    samples: Iterable[Sample]
    cosine: float = 0.995

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the annotated module of the best trial; where none keeps the cosine, that with the most bits.

        Raises
        ------
        TvmqError : no samples; whatever ``Annotate`` raises.
        """
        samples = list(islice(self.samples, SAMPLES))
        if not samples:
            raise TvmqError("there are no calibration samples; at least one is needed")
        reference = self._outputs(tupled(mod), samples)
        low, high, scale = SMALLEST, LARGEST, self.options.mixed_start_scale
        best, found = self._annotated(mod, low), None
        with nullcontext() if self.progress is None else self.progress("mixed bits", TRIALS) as bar:
            for _ in range(TRIALS):
                trial = self._annotated(mod, scale)
                if nearness([reference], [self._outputs(_rounded_form(trial), samples)]) >= self.cosine:
                    best, found, low = trial, scale, scale
                else:
                    high = scale
                scale = float(np.sqrt(low * high))
                if bar is not None:
                    bar.update(1)
        if found is None:
            logger.warning("no mixed bits keep a cosine of %g: the most bits are taken", self.cosine)
        else:
            logger.info("mixed bits: start scale %.4f", found)
        return best

    def _annotated(self, mod: IRModule, scale: float) -> IRModule:
        options = dataclasses.replace(self.options, mixed_start_scale=scale)
        return Annotate(self.scheme, self.row, options)(mod)

    def _outputs(self, mod: IRModule, samples: list[Sample]) -> list[np.ndarray]:
        """Return each output for all samples in one row."""
        run = self.runner(mod)
        found = [run(dict(sample)) for sample in samples]
        return [np.concatenate([array.ravel() for array in arrays]) for arrays in zip(*found, strict=True)]


def _rounded_form(mod: IRModule) -> IRModule:
    """Return an annotated module in float, with its weights rounded to their bits."""
    bits = get_bits(mod)
    weights = {
        pair.dequantize: rounded(pair.values, pair.axis, bits.of_weights(pair.name), pair.scales.size > 1)
        for pair in weight_pairs(mod)
    }
    skipped = transparent(mod)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in weights:
            return constant(weights[var].astype(np.float32))
        return value.args[0] if var in skipped else value

    result = relax.Tuple(results_of(mod))
    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite, result=result))
