"""SmoothQuant: ranges of activations that differ by channel, moved into the weights that read them.

    X W = (X S^-1) (S W)        s_j = max|X_j|^alpha / max|W_j|^(1 - alpha),  j: a column of X, a row of W

One scale for all of X suits its few columns with outliers; the weights, with a scale an output channel, take them
over. ``alpha`` says how much of the difference goes there (Xiao et al., "SmoothQuant", 2023). Where a linear layer
alone gives X, the division goes into its weights. Where X comes from a layer norm it stands as a multiplication of its
own, because in most networks the norm's result is read by a residual addition too; it runs in float in the kernel that
quantizes X. The float model stays the same up to rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.on_samples import ReadsSamples
from ..calibrate.watch import watch
from ..hub.conditions import FLOAT, FLOAT_MODEL
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, extents_of, layer_name, op_name, rebuild, to_numpy, with_layer_name
from ..prepare.affine import as_affine, per_channel
from ..prepare.fold_affine import has_constant_weight
from .chains import ChannelRange, Weights, chains_of

logger = logging.getLogger(__name__)

NORMS = frozenset({"relax.nn.layer_norm", "relax.nn.rms_norm"})


@module_pass(requires=FLOAT_MODEL, ensures=(FLOAT,), takes_open=True)
@dataclass(frozen=True)
class Smooth(ReadsSamples):
    """Smooth the inputs of matrix products; requires a prepared float module without pairs.

    Attributes
    ----------
    alpha : from 0, where the weights' ranges become alike, to 1, where the activations' do.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise TvmqError(f"alpha of SmoothQuant must be from 0 to 1, got {self.alpha}")

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with smoothed inputs of matrix products.

        Raises
        ------
        TvmqError : as ``watch`` does.
        """
        weights = Weights.of(mod)
        chains = {
            weights.calls[chain.second].args[0]: chain
            for chain in chains_of(mod)
            if op_name(weights.calls[chain.second]) == "relax.matmul" and chain.clipped is None
        }
        norms = readers_of_norms(mod)
        ranges = {var: ChannelRange(-1) for var in (*chains, *norms)}
        if not ranges:
            logger.warning(
                "smooth has no effect: no matrix product with constant weights reads what takes the factors"
            )
            return mod
        watchers = {var: [watcher] for var, watcher in ranges.items()}
        watch(mod, watchers, self.samples, self.runner, self.progress, "smooth")
        factors = {}
        for var, found in ranges.items():
            readers = norms.get(var) or [chains[var].second]
            largest = np.max([weights.input_ranges(reader) for reader in readers], axis=0)
            factors[var] = factors_of(np.maximum(found.high, -found.low), largest, self.alpha)
            if var in chains:
                weights.scale(chains[var], factors[var])
        scaled = weights.put_into(mod)
        return smoothed(scaled, _in_module(scaled, mod, {var: factors[var] for var in norms}))


def readers_of_norms(mod: IRModule) -> dict[relax.Var, list[relax.Var]]:
    """Return the layer norms' results that matrix products with constant weights read, with those products.

    A norm is one operator, or what is left of one that came in parts: a scale or shift a channel that ``Prepare`` could
    not fold into a weighted operator, or, where it could, the quotient before it.
    """
    found: dict[relax.Var, list[relax.Var]] = {}
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    for var, value in values.items():
        if op_name(value) != "relax.matmul" or not has_constant_weight(value):
            continue
        data = value.args[0]
        if data in values and _is_norm(values[data], values):
            found.setdefault(data, []).append(var)
    return found


def _is_norm(value: relax.Expr, values: Mapping[relax.Var, relax.Expr]) -> bool:
    if op_name(value) in NORMS or _standardizes(value, values):
        return True
    affine = as_affine(value)
    if affine is None or op_name(values.get(affine.data)) == "relax.matmul":
        return False
    shape = extents_of(value)
    parts = [per_channel(part, shape, -1) for part in (affine.scale, affine.shift)]
    return all(part is not None for part in parts) and any(np.ptp(part) > 0.0 for part in parts)


def _standardizes(value: relax.Expr, values: Mapping[relax.Var, relax.Expr]) -> bool:
    """Tell whether the value is ``(x - mean(x)) / deviation``, or a product with its inverse."""
    if op_name(value) not in ("relax.divide", "relax.multiply"):
        return False
    centred = values.get(value.args[0])
    if op_name(centred) != "relax.subtract":
        return False
    mean = values.get(centred.args[1])
    return op_name(mean) == "relax.mean" and mean.args[0].same_as(centred.args[0])


def factors_of(activations: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    """Return the factors ``[K]`` of largest magnitudes: 1 where a column or a row is zero throughout."""
    used = (activations > 0.0) & (weights > 0.0)
    activations, weights = np.where(used, activations, 1.0), np.where(used, weights, 1.0)
    return activations**alpha / weights ** (1.0 - alpha)


def smoothed(mod: IRModule, factors: Mapping[relax.Var, np.ndarray]) -> IRModule:
    """Return the module whose products with constant weights read these values divided, and take the factors back.

    Parameters
    ----------
    factors : ``[K]`` of each value; it may have other readers, which read what they did.
    """
    divided: dict[relax.Var, tuple[relax.Var, np.ndarray]] = {}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if op_name(value) == "relax.matmul" and value.args[0] in divided and has_constant_weight(value):
            data, own = divided[value.args[0]]
            weight = relax.const((to_numpy(value.args[1]) * own[:, None]).astype(np.float32))
            return relax.Call(value.op, [data, weight], value.attrs, value.ty_args, span=value.span)
        if var not in factors:
            return value
        bound = builder.emit(value)
        inverse = relax.const((1.0 / factors[var]).astype(np.float32))
        product = with_layer_name(relax.op.multiply(bound, inverse), layer_name(value))
        divided[bound] = builder.emit(product), factors[var]
        return bound

    return rebuild(mod, rewrite)


def _in_module(
    mod: IRModule, old: IRModule, factors: Mapping[relax.Var, np.ndarray]
) -> dict[relax.Var, np.ndarray]:
    """Return the factors by the variables of a rebuilt module, whose bindings have the places of the old one's."""
    return {
        new.var: factors[before.var]
        for new, before in zip(bindings_of(mod), bindings_of(old), strict=True)
        if before.var in factors
    }
