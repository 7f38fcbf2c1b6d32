"""Compressed weights' mean error, taken off the biases.

    b' = b - (w' - w) E[x]        w': the compressed weights, E[x]: the mean input by channel

With samples ``E[x]`` is what they show (``passes.improve.bias_correction``); without, it comes from the weights before
the layer (``passes.improve.moments``), and a layer of which they do not tell keeps its bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.sample_check import Sample
from ..calibrate.watch import Progress, Runner
from ..hub.codes import Codes
from ..hub.graph import bindings_of, to_numpy
from ..improve.bias_correction import input_means, mean_error, shift_results
from ..improve.moments import moments_of

CORRECTIONS = ("none", "empirical", "analytic")
"""Those of ``BIAS_CORRECTIONS`` that there are for weights alone."""


def choose(correction: str | None, has_samples: bool) -> str:
    """Return the bias correction: what the user said, or the best that there is.

    Raises
    ------
    TvmqError : one that needs samples without them; one that there is not for weights alone.
    """
    if correction is None:
        return "empirical" if has_samples else "analytic"
    if correction not in CORRECTIONS:
        raise TvmqError(
            f"bias_correction {correction!r} has no effect with weights alone, only one of: {', '.join(CORRECTIONS)}"
        )
    if correction == "empirical" and not has_samples:
        raise TvmqError(
            "bias_correction 'empirical' needs samples (calibration=, --calibration-data); 'analytic' needs none"
        )
    return correction


def correct(
    mod: IRModule,
    codes: Mapping[relax.Var, Codes],
    correction: str,
    samples: Iterable[Sample],
    runner: Runner,
    progress: Progress | None,
) -> IRModule:
    """Return the float module with the biases that its weights need once they are compressed.

    Parameters
    ----------
    codes : what becomes of the weights of weighted operators, by the variables of their results.
    correction : one of ``CORRECTIONS``.
    samples, runner, progress : as for ``CorrectBias``; used by ``"empirical"`` alone.

    Raises
    ------
    TvmqError : as ``watch`` does.
    """
    if correction == "none" or not codes:
        return mod
    calls = {binding.var: binding.value for binding in bindings_of(mod) if binding.var in codes}
    if correction == "empirical":
        means = input_means(mod, codes, samples, runner, progress)
    else:
        moments = moments_of(mod)
        means = {var: moments[call.args[0]].mean for var, call in calls.items() if call.args[0] in moments}
    shifts = {
        var: -mean_error(calls[var], _error(calls[var], codes[var]), mean) for var, mean in means.items()
    }
    return shift_results(mod, shifts)


def _error(call: relax.Call, codes: Codes) -> np.ndarray:
    """Return what compression does to the weights of a call, float64."""
    return codes.values().astype(np.float64) - to_numpy(call.args[1])
