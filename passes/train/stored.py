"""Compressed weights that learn: what their codes stand for, or the table that these choose from.

    grouped     (step code + low) t[group]   -->   (step clip(round(z), 0, n) + low) t[group]     z, t: parameters
    codebook    t[code] s                    -->   t[code] s                                      t, s: parameters

The entries of a codebook move along the sums of the gradients of all weights that share them; which weight has which
entry stays (Han et al., "Deep Compression", 2016, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from tvm import IRModule, relax

from ..hub.codes import Codebook, Codes, step_and_low
from ..hub.compressed import compressed
from ..hub.graph import bindings_of, layer_name, number, op_name, rebuild, shape_of
from ..hub.operators import WEIGHT_AXIS
from ..improve.learned import NEAR, share_of_few
from ..weight_only.emit import emit
from .parameter import ENTRIES, PLACES, WEIGHT_SCALES, Parameter
from .weight_forms import ValueOf, rounded


@dataclass(frozen=True)
class StoredWeights:
    """Compressed weights of one or several operators.

    Attributes
    ----------
    name : of the layer that reads them first.
    codes : what is stored.
    readers : the results of the weighted operators.
    axis : of their output channels.
    """

    name: str
    codes: Codes
    readers: tuple[relax.Var, ...]
    axis: int

    def parameters(self, originals: Mapping[str, np.ndarray], samples: float) -> Iterator[Parameter]:
        """Give what is learned; ``originals`` and ``samples`` are as for ``Student.of``."""
        codes = self.codes
        if isinstance(codes, Codebook):
            unit = float(np.ptp(codes.table)) / codes.table.size or 1.0
            yield Parameter(self.name, ENTRIES, codes.table, unit)
            yield Parameter(self.name, WEIGHT_SCALES, codes.scales, codes.scales)
            return
        unit = max(1.0, 2.0**codes.bits / 14.0)  # a code of many bits is a smaller part of a weight
        unit *= share_of_few(codes.codes.size, self.readers, samples)
        yield Parameter(self.name, PLACES, self.starting(originals), unit)
        yield Parameter(self.name, WEIGHT_SCALES, codes.table, codes.table)

    def starting(self, originals: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return where grouped weights begin, in codes: near their own, towards their float values; float32."""
        codes = self.codes.codes.astype(np.float32)
        wanted = originals.get(self.name)
        if isinstance(self.codes, Codebook) or wanted is None or wanted.shape != codes.shape:
            return codes
        step, low = step_and_low(self.codes.bits)
        lowest = replace(self.codes, codes=np.zeros_like(self.codes.codes)).values()
        relative = (wanted / (lowest / low) - low) / step
        return np.clip(relative, codes - NEAR, codes + NEAR).astype(np.float32)

    def value(
        self,
        builder: relax.BlockBuilder,
        value_of: ValueOf,
        finer: relax.Expr,
        originals: Mapping[str, np.ndarray],
    ) -> relax.Expr:
        """Return the weights, from parameters."""
        codes = self.codes
        shape = codes.codes.shape
        if isinstance(codes, Codebook):
            table = value_of(ENTRIES, self.name, codes.table)
            chosen = relax.op.take(table, relax.const(codes.codes.reshape(-1).astype(np.int32)), axis=0)
            values = builder.emit(relax.op.reshape(builder.emit(chosen), shape))
            return relax.op.multiply(values, value_of(WEIGHT_SCALES, self.name, codes.scales))
        step, low = step_and_low(codes.bits)
        places = value_of(PLACES, self.name, self.starting(originals))
        code = rounded(builder, places, (0, -2 * low // step), codes.bits, finer)
        scaled = builder.emit(relax.op.multiply(code, number(step)))
        integers = builder.emit(relax.op.add(scaled, number(low)))
        table = value_of(WEIGHT_SCALES, self.name, codes.table)
        return relax.op.multiply(integers, _spread(builder, table, shape, codes.group))

    def learned(self, values: Mapping[str, np.ndarray]) -> Codes:
        """Return the weights with learned values, by the parameters' keys."""
        scales = values.get(f"{WEIGHT_SCALES}:{self.name}")
        codes = self.codes
        if isinstance(codes, Codebook):
            table = values.get(f"{ENTRIES}:{self.name}", codes.table)
            return replace(
                codes, table=_float(table), scales=_float(codes.scales if scales is None else scales)
            )
        places = values.get(f"{PLACES}:{self.name}")
        step, low = step_and_low(codes.bits)
        new = codes.codes if places is None else np.clip(np.rint(places), 0, -2 * low // step)
        return replace(
            codes, codes=new.astype(np.uint16), table=_float(codes.table if scales is None else scales)
        )


def _spread(builder: relax.BlockBuilder, table: relax.Expr, shape: tuple[int, ...], group: int) -> relax.Expr:
    """Return the scales of groups once for each of their members; those of other axes broadcast."""
    for axis, extent in enumerate(shape):
        own = shape_of(table)
        count = own[axis]
        if not 1 < count < extent:
            continue
        before, behind = own[:axis], own[axis + 1 :]
        apart = builder.emit(relax.op.reshape(table, (*before, count, 1, *behind)))
        wide = builder.emit(relax.op.broadcast_to(apart, (*before, count, group, *behind)))
        table = builder.emit(relax.op.reshape(wide, (*before, count * group, *behind)))
        if count * group > extent:  # the last group has fewer members
            table = builder.emit(relax.op.strided_slice(table, [axis], [0], [extent]))
    return table


def _float(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def stored_weights(mod: IRModule) -> dict[relax.Var, StoredWeights]:
    """Return a module's compressed weights by the variables that they are bound to."""
    codes = compressed(mod)
    readers: dict[relax.Var, list[relax.VarBinding]] = {var: [] for var in codes}
    names = {}
    for binding in bindings_of(mod):
        if binding.var in codes:
            names[binding.var] = layer_name(binding.value)
        elif op_name(binding.value) in WEIGHT_AXIS and binding.value.args[1] in codes:
            readers[binding.value.args[1]].append(binding)
    return {
        var: StoredWeights(
            names[var],
            codes[var],
            tuple(binding.var for binding in own),
            WEIGHT_AXIS[op_name(own[0].value)],
        )
        for var, own in readers.items()
        if own
    }


def put_into_stored(mod: IRModule, values: Mapping[str, np.ndarray]) -> IRModule:
    """Return the module with learned values of its compressed weights."""
    stored = stored_weights(mod)
    if not stored:
        return mod
    new = {var: weights.learned(values) for var, weights in stored.items()}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        return emit(builder, new[var], stored[var].name) if var in new else value

    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))
