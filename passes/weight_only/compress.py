"""Float weights --> compressed weights that are unpacked in front of the operators which read them.

    conv2d(x, w)  -->  conv2d(x, call_tir(unpack, stream, table))

A constant that several operators read is compressed once, and the mean error is taken off the biases (``correct.py``).
Activations stay float, so that no samples are needed; where there are some, they tell the mean better. With mixed bits
each layer gets the fewest of which the error is within the start scale:

    |w' - w| <= t |w| sqrt(n / m)        2-norms over the layer's n weights; m: the mean n of these layers

A bit more quarters the squared error of a layer, and takes n bits. So the errors of all layers together are least, for
the size, where the squared error of each is in proportion to n: small layers get more bits than large ones.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError, unknown
from ..annotate.options import QuantizeOptions
from ..annotate.plan import first_and_last, too_small
from ..annotate.restrict import check_bits
from ..annotate.scheme_options import check_options
from ..annotate.selection import Selection, matches, select
from ..calibrate.on_samples import RunsModel
from ..calibrate.sample_check import Sample
from ..hub.bits import Bits
from ..hub.codes import MAX_BITS, MAX_CODEBOOK_BITS, Codes, Grouped, to_stream
from ..hub.conditions import UNQUANTIZED_MODEL
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, layer_name, op_name, rebuild, to_numpy
from ..hub.layers import Layer, get_layers, with_layers
from ..hub.operators import OPERATORS, WEIGHT_AXIS
from ..hub.schemes import Scheme
from .codebook import codebook
from .correct import choose, correct
from .emit import emit
from .group import grouped

MSE_BITS = 8
"""Up to so many bits scales are chosen by mean squared error; with more, clipping gains nothing."""


@module_pass(requires=UNQUANTIZED_MODEL, takes_open=True)
@dataclass(frozen=True)
class CompressWeights(RunsModel):
    """Compress the weights of a module that ``Prepare`` has rewritten.

    Attributes
    ----------
    scheme : a weight-only one.
    options : the user's choices.
    samples : for the bias correction ``"empirical"``, which is the default where there are any: the default ``()`` is
        none.

    Raises
    ------
    TvmqError : an option that has no effect without quantized activations, or without samples.
    """

    scheme: Scheme
    options: QuantizeOptions = QuantizeOptions()
    samples: Iterable[Sample] = ()

    def __post_init__(self) -> None:
        check_options(self.scheme, self.options)
        self._correction()

    def _correction(self) -> str:
        return choose(self.options.bias_correction, has_samples=self.samples != ())

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with compressed weights, and in its layer records what was decided.

        Raises
        ------
        TvmqError : a name that matches no layer; a model without weights; weights that are not finite; more entries of
            a codebook than weights; bits that the hardware lacks; samples that do not fit the model, or an empty list
            of them.
        """
        records = get_layers(mod)
        selection = select(records, self.options)
        weighted = _weighted(mod)
        if not weighted:
            raise TvmqError(
                "the model has no weights to compress: no convolution or matrix product with constant ones"
            )
        bits = self._bits([layer_name(call) for call in weighted.values()])
        reasons = self._reasons(weighted, selection)
        wanted = {var: call for var, call in weighted.items() if var not in reasons}
        codes = self._compress_all(wanted, bits)
        chosen = {layer_name(weighted[var]): found for var, found in codes.items()}
        if self.options.hardware is not None:
            check_bits(
                Bits(weights={name: found.bits for name, found in chosen.items()}), self.options.hardware
            )
        corrected = correct(mod, codes, self._correction(), self.samples, self.runner, self.progress)
        said = {layer_name(weighted[var]): reason for var, reason in reasons.items()}
        return with_layers(
            _replaced(corrected, [codes.get(var) for var in weighted]),
            [self._record(each, chosen, said) for each in records],
        )

    def _bits(self, names: list[str]) -> dict[str, int]:
        """Return the bits of each weighted layer, 0 where they are to be found."""
        said = self.options.weight_bits
        bits = dict.fromkeys(names, self.scheme.weight_bits if said is None else said)
        for pattern, count in self.options.bits.items():
            found = [name for name in names if matches(pattern, name)]
            if not found:
                raise unknown("weighted layer", pattern, names)
            if not isinstance(count, int) or not 1 <= count <= self._most:
                raise TvmqError(
                    f"bits of layer {pattern!r}: expected 1 to {self._most}, for the weights alone, got {count!r}"
                )
            bits.update(dict.fromkeys(found, count))
        return bits

    @property
    def _most(self) -> int:
        return MAX_CODEBOOK_BITS if self.options.codebook else MAX_BITS

    def _reasons(
        self, weighted: Mapping[relax.Var, relax.Call], selection: Selection
    ) -> dict[relax.Var, str]:
        """Return why each of the weighted operators that stays in float does."""
        forced = first_and_last(list(weighted), self.options)
        reasons = {}
        for var, call in weighted.items():
            name = layer_name(call)
            reason = forced.get(var) or selection.skipped.get(name) or too_small(call, self.options)
            if name in selection.unwanted:
                reason = "not among the layers to quantize"
            if reason:
                reasons[var] = reason
        return reasons

    def _compress_all(
        self, calls: Mapping[relax.Var, relax.Call], bits: Mapping[str, int]
    ) -> dict[relax.Var, Codes]:
        """Return what becomes of the weights of each call; the same of those that have one constant in common."""
        mixed = {call.args[1] for call in calls.values() if not bits[layer_name(call)]}
        mean_size = float(np.mean([to_numpy(weight).size for weight in mixed])) if mixed else 0.0
        made: dict[relax.Expr, Codes] = {}
        with nullcontext() if self.progress is None else self.progress("compress weights", len(calls)) as bar:
            for call in calls.values():
                weight, name = call.args[1], layer_name(call)
                if weight not in made:
                    made[weight] = self._compress(name, to_numpy(weight), _axis(call), bits[name], mean_size)
                if bar is not None:
                    bar.update(1)
        return {var: made[call.args[1]] for var, call in calls.items()}

    def _compress(self, name: str, weight: np.ndarray, axis: int, bits: int, mean_size: float) -> Codes:
        """Return one layer's weights compressed; ``mean_size`` is for mixed bits, 0, alone."""
        if not np.isfinite(weight).all():
            raise TvmqError(f"the weights of layer {name!r} hold NaN or infinity")
        if weight.size * self._most >= 2**31:
            raise TvmqError(
                f"layer {name!r} has {weight.size} weights, more than one tensor of a package can have"
            )
        if bits:
            return self._codes(name, weight, axis, bits)
        share = self.options.mixed_start_scale * (weight.size / mean_size) ** 0.5
        allowed = share * np.linalg.norm(weight)

        def is_enough(count: int) -> bool:
            return bool(np.linalg.norm(self._codes(name, weight, axis, count).values() - weight) <= allowed)

        most = min(self._most, weight.size.bit_length() - 1) if self.options.codebook else self._most
        candidates = range(1, most + 1)
        place = bisect_left(candidates, True, hi=most - 1, key=is_enough)
        return self._codes(name, weight, axis, candidates[place])

    def _codes(self, name: str, weight: np.ndarray, axis: int, bits: int) -> Codes:
        options = self.options
        per_channel = self.scheme.per_channel if options.per_channel is None else options.per_channel
        if options.codebook:
            return codebook(weight, axis, bits, name, per_channel)
        return grouped(
            weight,
            axis,
            bits,
            options.group_size,
            per_channel,
            options.weight_observer or ("mse" if bits <= MSE_BITS else None),
            options.power_of_two,
        )

    def _record(self, layer: Layer, chosen: Mapping[str, Codes], reasons: Mapping[str, str]) -> Layer:
        if layer.name in chosen:
            details = _details(chosen[layer.name])
            return dataclasses.replace(layer, status=self.scheme.name, reason="", details=details)
        if layer.status != "float":
            return layer
        return dataclasses.replace(layer, reason=reasons.get(layer.name, "it has no weights to compress"))


def _weighted(mod: IRModule) -> dict[relax.Var, relax.Call]:
    """Return the operators with weights that can be compressed, by the variables of their results, in graph order."""
    return {
        binding.var: binding.value
        for binding in bindings_of(mod)
        if op_name(binding.value) in WEIGHT_AXIS
        and not OPERATORS[op_name(binding.value)].refuse(binding.value)
    }


def _replaced(mod: IRModule, codes: Sequence[Codes | None]) -> IRModule:
    """Return the module with these weights of its weighted operators, one after the other; None keeps float."""
    wanted = dict(zip(_weighted(mod), codes, strict=True))
    emitted: dict[int, relax.Var] = {}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        found = wanted.get(var)
        if found is None:
            return value
        if id(found) not in emitted:
            emitted[id(found)] = emit(builder, found, layer_name(value))
        args = [value.args[0], emitted[id(found)]]
        return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)

    return rebuild(mod, rewrite)


def _axis(call: relax.Call) -> int:
    return WEIGHT_AXIS[op_name(call)]


def _details(found: Codes) -> dict[str, Any]:
    """Return what a layer's record says of its weights; its bytes are those of codes and table."""
    if isinstance(found, Grouped):
        kind: dict[str, Any] = {
            "weight_scale_min": float(found.table.min()),
            "weight_scale_max": float(found.table.max()),
            "weight_group_size": found.group,
        }
        scales = 0
    else:
        kind = {"weight_codebook": found.table.size}
        scales = found.scales.nbytes
    return {
        "weight_shape": list(found.codes.shape),
        "weight_bits": found.bits,
        "weight_bytes": to_stream(found.codes, found.bits).nbytes + found.table.nbytes + scales,
        **kind,
    }
