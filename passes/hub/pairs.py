"""The pairs of a Q/DQ module between ``Annotate`` and ``FoldWeights``: reading them, and giving them parameters.

    an activation   dequantize(quantize(x, s, z), s, z)              x is clipped first where it has fewer than 8 bits
                    of a dequantized value again, with fewer bits    for readers that do with these
    weights         dequantize(quantize(w + offset, s, 0), s, 0)     no offset where w / s is rounded to nearest
    row pairs       have no parameters (``row_pairs``); only ``transparent`` knows them

The float weights stay in the module until ``FoldWeights``, and what rounding them otherwise adds to them is a
constant of its own, so that every method finds both the weights as they were and what has been decided so far.
All methods read the module through ``activation_pairs`` and ``weight_pairs``, and change it with ``edit``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from .bits import get_bits
from .graph import activations as read_by
from .graph import (
    bindings_of,
    constant,
    consumers_of,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)
from .operators import CONCAT, MOVE, OPERATORS
from .parameters import MAX_BITS, along, quantize_weight, represented_range, weight_limits
from .row_pairs import row_pairs


@dataclass(frozen=True)
class ActivationPair:
    """A quantized activation.

    Attributes
    ----------
    name : of the layer, or of the model's input, that gives the value; ``name:2`` where it gives a second one.
    source : the float value.
    quantize, dequantize : the two halves.
    dtype, bits : how it is stored, and how much of that is used.
    scale, zero_point : NaN and 0 while they are unknown.
    """

    name: str
    source: relax.Var
    quantize: relax.Var
    dequantize: relax.Var
    dtype: str
    bits: int
    scale: float
    zero_point: int

    @property
    def is_unknown(self) -> bool:
        return bool(np.isnan(self.scale))

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value that it represents."""
        return represented_range(self.scale, self.zero_point, self.dtype, self.bits)


@dataclass(frozen=True)
class WeightPair:
    """Quantized weights that are still float.

    Attributes
    ----------
    name : of the first layer that reads them; ``name:2`` for a second pair of that layer.
    values : float32, OIHW or ``[K, N]``.
    quantize, dequantize : the two halves.
    readers : the results of the weighted operators that read them, more than one where branches share a head;
        none where recurrent layers do.
    axis : of the output channels.
    bits, limits : of the integers.
    scales : float32, one for each output channel or ``[1]``; NaN while they are unknown.
    integers : int8, what ``values`` become; zeros while the scales are unknown.
    """

    name: str
    values: np.ndarray
    quantize: relax.Var
    dequantize: relax.Var
    readers: tuple[relax.Var, ...]
    axis: int
    bits: int
    limits: tuple[int, int]
    scales: np.ndarray
    integers: np.ndarray

    @property
    def is_unknown(self) -> bool:
        return bool(np.isnan(self.scales).any())

    @property
    def restored(self) -> np.ndarray:
        """The values that the integers stand for, float64."""
        scales = along(self.scales.astype(np.float64), self.axis, self.values.ndim)
        return self.integers * scales

    @property
    def error(self) -> np.ndarray:
        """What quantization does to the weights, float64."""
        return self.restored - self.values


@dataclass(frozen=True)
class ActivationParameters:
    """New parameters of an activation."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class WeightParameters:
    """New parameters of weights: float32 ``[O]`` or ``[1]``, and int8 in the shape of the weights."""

    scales: np.ndarray
    integers: np.ndarray


def activation_pairs(mod: IRModule) -> list[ActivationPair]:
    """Return the module's activation pairs in graph order."""
    return [pair for pair in _pairs(mod) if isinstance(pair, ActivationPair)]


def weight_pairs(mod: IRModule) -> list[WeightPair]:
    """Return the module's pairs of float weights in graph order; those of integers are not among them."""
    return [pair for pair in _pairs(mod) if isinstance(pair, WeightPair)]


def transparent(mod: IRModule) -> set[relax.Var]:
    """Return every variable that only a pair binds, of rows too: without pairs each would be its value's first operand.

    What finds the scales of rows is not among them; nobody reads it then.
    """
    return members(mod).union(*(pair.chain for pair in row_pairs(mod).values()))


def members(mod: IRModule) -> set[relax.Var]:
    """Return the same of the pairs that have parameters."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    found = set()
    for pair in _pairs(mod):
        found |= {pair.quantize, pair.dequantize}
        inner = _inner(values, pair)
        if inner is not None:
            found.add(inner)
    return found


def float_form(mod: IRModule, result: relax.Expr | None = None) -> IRModule:
    """Return the module without its pairs: the float model. ``result``, of its variables, replaces the result."""
    skipped = transparent(mod)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        return value.args[0] if var in skipped else value

    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite, result=result))


def edit(
    mod: IRModule,
    activations: Mapping[str, ActivationParameters] | None = None,
    weights: Mapping[str, WeightParameters] | None = None,
) -> IRModule:
    """Return the module with new parameters of the pairs that are named; the others stay.

    Raises
    ------
    ValueError : there is no pair of a name.
    """
    activations, weights = activations or {}, weights or {}
    of_activations = {pair.name: pair for pair in activation_pairs(mod)}
    of_weights = {pair.name: pair for pair in weight_pairs(mod)}
    missing = {*activations} - {*of_activations} | {*weights} - {*of_weights}
    if missing:
        raise ValueError(f"the module has no pairs {sorted(missing)}")
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    editors: dict[relax.Var, _Editor] = {}
    for editor in (
        *(_ActivationEditor(of_activations[name], new) for name, new in activations.items()),
        *(_WeightEditor(of_weights[name], new) for name, new in weights.items()),
    ):
        pair = editor.pair
        editors.update(dict.fromkeys((pair.quantize, pair.dequantize, _inner(values, pair)), editor))

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        return editors[var].rewrite(builder, var, value) if var in editors else value

    return rebuild(mod, rewrite)


class _Editor:
    """Rewrites the bindings of one pair."""

    def __init__(self, pair: ActivationPair | WeightPair, scale: np.ndarray, zero_point: np.ndarray):
        self.pair = pair
        self._scale, self._zero_point = constant(scale), constant(zero_point)

    def rewrite(self, builder: relax.BlockBuilder, var: relax.Var, value: relax.Call) -> relax.Expr:
        name = layer_name(value)
        if var.same_as(self.pair.dequantize):
            call = relax.op.dequantize(value.args[0], self._scale, self._zero_point, value.attrs.axis)
        elif var.same_as(self.pair.quantize):
            data = self.data(builder, value.args[0], name)
            dtype = value.attrs.out_dtype
            call = relax.op.quantize(data, self._scale, self._zero_point, value.attrs.axis, dtype)
        else:
            return value.args[0]
        return with_layer_name(call, name)

    def data(self, builder: relax.BlockBuilder, data: relax.Expr, name: str) -> relax.Expr:
        """Return what the pair's ``quantize`` is to read."""
        raise NotImplementedError


class _ActivationEditor(_Editor):
    pair: ActivationPair

    def __init__(self, pair: ActivationPair, new: ActivationParameters):
        super().__init__(pair, np.array(new.scale, np.float32), np.array(new.zero_point, pair.dtype))
        self._range = represented_range(np.float32(new.scale), new.zero_point, pair.dtype, pair.bits)

    def data(self, builder: relax.BlockBuilder, data: relax.Expr, name: str) -> relax.Expr:
        if self.pair.bits == MAX_BITS:
            return data
        return builder.emit(with_layer_name(relax.op.clip(data, *self._range), name))


class _WeightEditor(_Editor):
    pair: WeightPair

    def __init__(self, pair: WeightPair, new: WeightParameters):
        super().__init__(pair, new.scales.astype(np.float32), np.zeros(new.scales.shape, np.int8))
        self._new = new

    def data(self, builder: relax.BlockBuilder, data: relax.Expr, name: str) -> relax.Expr:
        pair, new = self.pair, self._new
        scales = along(new.scales.astype(np.float64), pair.axis, pair.values.ndim)
        if np.array_equal(np.rint(pair.values / scales), new.integers):
            return data
        offset = (new.integers * scales - pair.values).astype(np.float32)
        return builder.emit(with_layer_name(relax.op.add(data, constant(offset)), name))


def _pairs(mod: IRModule) -> list[ActivationPair | WeightPair]:
    return list(_Reader(mod).pairs())


def _inner(values: Mapping[relax.Var, relax.Expr], pair: ActivationPair | WeightPair) -> relax.Var | None:
    """Return the variable of what stands before the quantize of a pair and belongs to it: a clip, an offset."""
    data = values[pair.quantize].args[0]
    before = values.get(data) if isinstance(data, relax.Var) else None
    if isinstance(pair, WeightPair):
        return data if isinstance(data, relax.Var) else None
    clipped = pair.bits < MAX_BITS and not pair.is_unknown and op_name(before) == "relax.clip"
    return data if clipped else None


class _Reader:
    def __init__(self, mod: IRModule):
        self._bindings = bindings_of(mod)
        self._values = {binding.var: binding.value for binding in self._bindings}
        self._bits = get_bits(mod)
        self._readers = consumers_of(mod)
        self._operators: dict[relax.Var, list[relax.Var]] = {}
        for binding in self._bindings:
            if isinstance(binding.value, relax.Call) and len(binding.value.args) == 2:
                weight = binding.value.args[1]
                if isinstance(weight, relax.Var):
                    self._operators.setdefault(weight, []).append(binding.var)
        self._names: dict[tuple[bool, str], int] = {}
        # Values of activation pairs, and what only moves these: the pair's.
        self._carrying: dict[relax.Var, relax.Var] = {}

    def pairs(self) -> Iterator[ActivationPair | WeightPair]:
        for binding in self._bindings:
            if op_name(binding.value) != "relax.dequantize" or not isinstance(
                binding.value.args[0], relax.Var
            ):
                self._carry(binding)
                continue
            quantize = binding.value.args[0]
            call = self._values.get(quantize)
            if op_name(call) != "relax.quantize" or not all(is_constant(item) for item in call.args[1:]):
                continue
            weights = self._weights_of(call.args[0])
            if weights is not None:
                yield self._weight_pair(quantize, binding.var, call, *weights)
            elif shape_of(call.args[1]) == ():
                yield self._activation_pair(quantize, binding.var, call)
                self._carrying[binding.var] = binding.var

    def _carry(self, binding: relax.VarBinding) -> None:
        row, read = OPERATORS.get(op_name(binding.value)), read_by(binding.value)
        is_concat = row is not None and row.kind == CONCAT
        moves = row.kind == MOVE if row is not None else isinstance(binding.value, relax.TupleGetItem)
        found = {self._carrying.get(var) for var in (read if is_concat else read[:1])}
        if (moves or is_concat) and len(found) == 1 and None not in found:
            self._carrying[binding.var] = found.pop()

    def _weights_of(self, data: relax.Expr) -> tuple[np.ndarray, np.ndarray] | None:
        """Return float weights and the same with their offset; None for an activation."""
        if is_constant(data):
            return to_numpy(data), to_numpy(data)
        call = self._values.get(data)
        if op_name(call) == "relax.add" and all(is_constant(item) for item in call.args):
            values, offset = map(to_numpy, call.args)
            return values, values + offset
        return None

    def _unique(self, kind: bool, name: str) -> str:
        count = self._names[kind, name] = self._names.get((kind, name), 0) + 1
        return name if count == 1 else f"{name}:{count}"

    def _weight_pair(
        self,
        quantize: relax.Var,
        dequantize: relax.Var,
        call: relax.Call,
        values: np.ndarray,
        target: np.ndarray,
    ) -> WeightPair:
        axis, scales = int(call.attrs.axis), to_numpy(call.args[1])
        layer = layer_name(call)
        bits = self._bits.of_weights(layer)
        limits = weight_limits(bits, self._bits.narrow_range)
        known = not np.isnan(scales).any()
        integers = quantize_weight(target, scales, axis, limits) if known else np.zeros(values.shape, np.int8)
        readers = tuple(self._operators.get(dequantize, ()))
        name = self._unique(True, layer)
        return WeightPair(name, values, quantize, dequantize, readers, axis, bits, limits, scales, integers)

    def _activation_pair(
        self, quantize: relax.Var, dequantize: relax.Var, call: relax.Call
    ) -> ActivationPair:
        data = call.args[0]
        before = self._values.get(data)
        scale, zero_point = float(to_numpy(call.args[1])), int(to_numpy(call.args[2]))
        unclipped = before.args[0] if not np.isnan(scale) and op_name(before) == "relax.clip" else data
        layer = layer_name(call) or self._origin(data).name  # an input has no layer
        narrowed = unclipped in self._carrying
        bits = self._bits.of_narrowed(layer) if narrowed else self._bits.of_activation(layer)
        source = unclipped if bits < MAX_BITS else data
        dtype = str(call.attrs.out_dtype)
        name = self._unique(False, layer)
        return ActivationPair(name, source, quantize, dequantize, dtype, bits, scale, zero_point)

    def _origin(self, var: relax.Var) -> relax.Var:
        """Return the input that a value without a layer is: what is before it are pairs, and what moves values."""
        while var in self._values:
            var = read_by(self._values[var])[0]
        return var
