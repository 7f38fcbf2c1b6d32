"""Matrix products of networks with layer norms: how each input becomes integers, by what that leaves of its result.

    static    one scale for all, from samples; where a layer norm gives the input, smoothed (``passes.improve.smooth``)
    dynamic   a scale and a zero point for each row, found while the model runs (``passes.hub.row_pairs``)
    float     where neither leaves enough

Tokens of one text differ more in size than pixels of an image, and a few channels are larger than all others, so one
scale for all serves some inputs well and others not at all. What it leaves is measured, product by product, on some
rows of the samples, with the weights rounded too. All products of one input share its integers, so they are judged
together.
"""

from __future__ import annotations

import logging
from collections.abc import Sized
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.on_samples import ReadsSamples
from ..calibrate.watch import watch
from ..hub.conditions import FLOAT, FLOAT_MODEL
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, extents_of, layer_name, op_name, to_numpy
from ..hub.product_choices import DYNAMIC, FLOAT_PRODUCT, STATIC, ProductChoice, with_product_choices
from ..prepare.fold_affine import has_constant_weight
from .product_error import ProductError, RowSample
from .smooth import factors_of, readers_of_norms, smoothed

logger = logging.getLogger(__name__)

STRENGTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of smoothing, that are tried."""

GOOD = 36.0
"""Decibels from which on a static input is as good as the weights' own rounding leaves it."""

NEAR = 2.0
"""Decibels that a static input may have less than a dynamic one, which takes a pass over its rows."""

SMOOTHING_GAIN = 1.0
"""Decibels from which on smoothing is worth its multiplication."""


@module_pass(requires=FLOAT_MODEL, ensures=(FLOAT,), takes_open=True)
@dataclass(frozen=True)
class FitProducts(ReadsSamples):
    """Choose for each product with constant weights; a module without layer norms stays as it is.

    Attributes
    ----------
    scales : ``"auto"``; or ``"static"`` or ``"dynamic"``, what all products are to be. Dynamic ones need no samples,
        and may be of any network.
    float_below : products of which neither way leaves so many decibels stay in float.
    """

    scales: str = "auto"
    float_below: float = 20.0

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with smoothed inputs, and the choices for ``Annotate`` in an attribute.

        Raises
        ------
        TvmqError : there are no samples; weights that hold NaN or infinity; as ``watch`` does.
        """
        readers = _readers(mod)
        _check_weights(readers)
        if self.scales == DYNAMIC:
            choice = ProductChoice(DYNAMIC, "on request")
            names = [layer_name(call) for calls in readers.values() for call in calls]
            return with_product_choices(mod, dict.fromkeys(names, choice))
        norms = readers_of_norms(mod)
        if not norms:
            return mod
        watched = {data: RowSample() for data in readers}
        watchers = {data: [sample] for data, sample in watched.items()}
        if isinstance(self.samples, Sized) and not len(self.samples):
            raise TvmqError(
                "scales of activations are chosen from calibration samples, and there are none; the scheme or "
                f"activation_scales {DYNAMIC!r} needs none"
            )
        watch(mod, watchers, self.samples, self.runner, self.progress, "fit products")
        choices: dict[str, ProductChoice] = {}
        factors: dict[relax.Var, np.ndarray] = {}
        for data, calls in readers.items():
            error = ProductError(watched[data], [to_numpy(call.args[1]) for call in calls])
            strength, static, own = _smoothing(error) if data in norms else (0.0, error.static(), None)
            choice = self._choice(static, error.dynamic(), strength)
            if choice.way == STATIC and own is not None:
                factors[data] = own
            for call in calls:
                choices[layer_name(call)] = choice
                logger.info("layer %r is %s: %s", layer_name(call), choice.way, choice.reason)
        return with_product_choices(smoothed(mod, factors), choices)

    def _choice(self, static: float, dynamic: float, strength: float) -> ProductChoice:
        kept = f"{static:.0f} dB of its result are left with one scale"
        kept += f" (smoothed by {strength:g})" if strength else ""
        kept += f", {dynamic:.0f} dB with one a row"
        is_static = self.scales == STATIC or static >= min(GOOD, dynamic - NEAR)
        if self.scales != STATIC and max(static, dynamic) < self.float_below:
            return ProductChoice(FLOAT_PRODUCT, kept)
        return ProductChoice(STATIC if is_static else DYNAMIC, kept)


def _readers(mod: IRModule) -> dict[relax.Var, list[relax.Call]]:
    """Return the products with constant weights of each input that is a matrix at least."""
    found: dict[relax.Var, list[relax.Call]] = {}
    for binding in bindings_of(mod):
        call = binding.value
        if (
            op_name(call) == "relax.matmul"
            and has_constant_weight(call)
            and len(extents_of(call.args[0])) > 1
        ):
            found.setdefault(call.args[0], []).append(call)
    return found


def _check_weights(readers: dict[relax.Var, list[relax.Call]]) -> None:
    for call in (call for calls in readers.values() for call in calls):
        if not np.isfinite(to_numpy(call.args[1])).all():
            raise TvmqError(f"the weights of layer {layer_name(call)!r} hold NaN or infinity")


def _smoothing(error: ProductError) -> tuple[float, float, np.ndarray | None]:
    """Return the strength, what it leaves, and the factors; without gain 0 and none."""
    largest = np.max([np.abs(weight).max(axis=1) for weight in error.weights], axis=0)
    plain = error.static()
    tried = [
        (error.static(factors), strength, factors)
        for strength in STRENGTHS
        for factors in [factors_of(error.data.largest, largest, strength)]
    ]
    best, strength, factors = max(tried, key=lambda each: each[0])
    return (strength, best, factors) if best >= plain + SMOOTHING_GAIN else (0.0, plain, None)
