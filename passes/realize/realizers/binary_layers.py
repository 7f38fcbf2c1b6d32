"""Convolution and matrix multiplication of one-bit numbers.

step(conv2d(x, w) + bias)                             -->  conv2d[one bit, threshold](bits of x, bits of w)
step(max_pool(conv2d(x, w) + bias) * s + t)           -->  any in the window of conv2d[one bit, threshold](...)
Q(limit(conv2d(x, w) + bias + DQ(residual)))          -->  conv2d[one bit, requantize ...](...)
conv2d(x, w) + bias                                   -->  conv2d[one bit, dequantize](...)

with x and w two-valued (``passes.hub.two_valued``). An accumulator counts products of -1 and 1; batch norm, which has
been folded into weights and bias, and the step behind them are one threshold a channel. Where the result has more than
one bit, accumulators have some fractional bits, so that biases keep theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from tvm import relax

from ....targets.row import TargetRow
from ...hub import packing
from ...hub.arithmetic import INT32_MAX, bounds_of
from ...hub.graph import layer_name, op_name, shape_of
from ...hub.operators import WEIGHT_AXIS
from ...hub.two_valued import TwoValued, is_binary, signs_of
from ...prepare.affine import as_affine, per_channel
from ..compute import binary
from ..compute.binary import Threshold
from ..compute.contraction import Conv2d
from ..compute.dots import Dot, Narrow, possible_steps
from ..compute.epilogue import Epilogue
from ..compute.naming import kernel_name
from ..compute.pool import Window
from .average import window_of_pool
from .dots import MOST_STEPS
from .quantized import Emitter, Facts, Parameters, Plan
from .weighted import choose_epilogue, match_weighted
from .weights import constant_value

MOST_TAPS = 25
"""Of a pooling of bits, whose code has one term for each."""

FRACTION_BITS = 12
"""Of accumulators whose result has more than one bit, at most."""


@dataclass(frozen=True)
class _Sums:
    """``result = (2^fraction * sum + offset) * step``: int32 and float64, ``[O]``; ``signs`` are the weights."""

    signs: np.ndarray
    step: np.ndarray
    constant: np.ndarray
    terms: int


@dataclass(frozen=True)
class _Pooled:
    """``max_pool(data) * scale + shift``, of which a step makes bits: float64 ``[O]``."""

    data: relax.Expr
    window: Window
    scale: np.ndarray
    shift: np.ndarray
    names: tuple[str, ...]

    def emit(self, emitter: Emitter, bits: relax.Var, groups: int, lanes: int, layer: str) -> relax.Var:
        """Emit the pooling of bits, which are those of the opposite where the scale is below 0."""
        flips = packing.pack_channels((self.scale < 0).astype(np.uint8), groups, lanes)
        mask = relax.const(np.packbits(flips, bitorder="little"))
        define = partial(binary.pool, window=self.window)
        return emitter.call(define, bits, mask, name="bpool", layer=layer)


def _pooled(facts: Facts, value: relax.Expr) -> _Pooled | None:
    """Return the pooling that a value is, but for what scales and shifts its channels; None where there is none."""
    channels = shape_of(value)[-1]
    scale, shift, names = np.ones(channels), np.zeros(channels), []
    call = facts.definition(value)
    while (affine := as_affine(call)) is not None:
        factors = [per_channel(array, shape_of(call), -1) for array in (affine.scale, affine.shift)]
        if any(factor is None for factor in factors):
            return None
        scale, shift = scale * factors[0], scale * factors[1] + shift
        names.append(layer_name(call))
        call = facts.definition(affine.data)
    if op_name(call) != "relax.nn.max_pool2d" or not isinstance(window := window_of_pool(call), Window):
        return None
    if math.prod(window.size) > MOST_TAPS:
        return None
    return _Pooled(call.args[0], window, scale, shift, (*names, layer_name(call)))


def plan_binary(facts: Facts, value: relax.Expr, target: Parameters | TwoValued | None) -> Plan | None:
    """Plan a convolution or matmul whose data and weights have one bit."""
    pooled = _pooled(facts, value) if isinstance(target, TwoValued) else None
    match = match_weighted(facts, value if pooled is None else pooled.data)
    data = None if match is None else facts.two_valued(match.call.args[0])
    if match is None or data is None or (match.residual is not None and not isinstance(target, Parameters)):
        return None
    call = match.call
    weight = constant_value(facts, call.args[1])
    if weight is None or not is_binary(call, data, weight) or not _is_channels_last(call):
        return None
    sums = _sums(call, data, weight, match.bias)
    details = {
        "weight_shape": list(weight.shape),
        "weight_bits": 1,
        "weight_bytes": packing.ceil_div(weight.size, 8),
        "data_bits": 1,
    }
    operands = () if match.residual is None else (match.residual,)
    arrays: tuple[np.ndarray, ...]
    epilogue: Epilogue | Threshold
    if isinstance(target, TwoValued):
        if match.limited.names:
            return None
        arrays, epilogue, fraction = (_thresholds(sums, target, pooled),), Threshold(), 0
    else:
        fraction = _fraction_bits(sums)
        step = sums.step / 2.0**fraction
        offset = np.rint(sums.constant / step)
        largest = sums.terms * 2.0**fraction + np.abs(offset)
        if largest.max(initial=0.0) > INT32_MAX:
            facts.refuse(call, "its sums can leave int32")
            return None
        chosen = choose_epilogue(facts, match, step, target, largest)
        if isinstance(chosen, str):
            facts.refuse(call, chosen)
            return None
        epilogue, multiplier = chosen
        arrays = (epilogue.conversion.start(offset.astype(np.int32)), multiplier.astype(np.float32))
    build = partial(
        _build,
        call=call,
        data=data,
        signs=sums.signs,
        arrays=arrays,
        operands=operands,
        epilogue=epilogue,
        fraction=fraction,
        pooled=pooled,
    )
    names = (*(() if pooled is None else pooled.names), *match.names)
    return Plan(layer_name(call), (call.args[0], *operands), build, names, details, "binary")


def _is_channels_last(call: relax.Call) -> bool:
    layouts = ("NHWC", "OIHW")
    return op_name(call) == "relax.matmul" or (call.attrs.data_layout, call.attrs.kernel_layout) == layouts


def _sums(call: relax.Call, data: TwoValued, weight: np.ndarray, bias: np.ndarray | None) -> _Sums:
    """Return what a sum of products of signs stands for.

    data = half * sign + middle,  weight = scale * sign  -->  half * scale * sum + middle * sum(weight) + bias
    """
    axis = WEIGHT_AXIS[op_name(call)]
    signs = signs_of(weight, axis)
    if signs is None:
        raise ValueError("the weights are not two-valued")
    half, middle = (data.high - data.low) / 2, (data.high + data.low) / 2
    others = tuple(place for place in range(weight.ndim) if place != axis)
    total = signs.scale * signs.values.astype(np.int64).sum(axis=others)
    constant = middle * total + (0.0 if bias is None else np.broadcast_to(bias.reshape(-1), total.shape))
    values = signs.values if half > 0 else -signs.values
    return _Sums(values, abs(half) * signs.scale, constant, weight.size // len(total))


def _thresholds(sums: _Sums, target: TwoValued, pooled: _Pooled | None) -> np.ndarray:
    """Return the least sum of each channel with which the result is ``high``, int32.

    Where the scale behind a pooling is below 0 it is the least sum with which the result is ``low``: one such in a
    window decides. Near the border the comparison is that of float32 numbers, as the float model makes it.
    """
    scale = np.ones_like(sums.step) if pooled is None else pooled.scale
    shift = 0.0 if pooled is None else pooled.shift
    slope, constant = scale * sums.step, scale * sums.constant + shift
    with np.errstate(all="ignore"):
        nearest = np.rint((np.float64(target.threshold) - constant) / slope)
    most = sums.terms + 1
    found = np.full(slope.shape, most)

    def reached(candidate: np.ndarray) -> np.ndarray:
        value = candidate.astype(np.float32) * slope.astype(np.float32) + constant.astype(np.float32)
        return (value >= np.float32(target.threshold)) == (slope >= 0)

    for candidate in (nearest + 1, nearest, nearest - 1, np.full(slope.shape, -most)):
        candidate = np.clip(np.nan_to_num(candidate, nan=most), -most, most)
        found = np.where(reached(candidate), candidate, found)
    return found.astype(np.int32)


def _fraction_bits(sums: _Sums) -> int:
    """Return how many fractional bits accumulators and offsets have room for in int32."""
    largest = float((sums.terms + np.abs(sums.constant / sums.step)).max(initial=1.0))
    room = int(np.floor(np.log2(INT32_MAX / 4 / max(largest, 1.0))))
    return max(0, min(FRACTION_BITS, room))


def _build(
    emitter: Emitter,
    *,
    call: relax.Call,
    data: TwoValued,
    signs: np.ndarray,
    arrays: tuple[np.ndarray, ...],
    operands: tuple[relax.Expr, ...],
    epilogue: Epilogue | Threshold,
    fraction: int,
    pooled: _Pooled | None,
) -> relax.Var:
    """Emit the kernel; a matrix is an image of height 1, whose columns are the rows."""
    layer, shape = layer_name(call), shape_of(call)
    bits = emitter.integers(call.args[0])
    channels = shape_of(call.args[0])[-1]
    if op_name(call) == "relax.matmul":
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        bits = emitter.emit(relax.op.reshape(bits, (1, 1, rows, shape_of(bits)[-1])), layer)
        operands_of = [
            emitter.emit(relax.op.reshape(emitter.integers(operand), (1, 1, rows, shape[-1])), layer)
            for operand in operands
        ]
        signs = signs.T[:, :, None, None]
        geometry = Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1, (1, 1), shape[-1])
        name = kernel_name("bmatmul", shape_of(call.args[0]), shape[-1])
    else:
        operands_of = [emitter.integers(operand) for operand in operands]
        geometry = Conv2d.of(call, signs.shape)
        name = kernel_name("bconv2d", shape_of(call.args[0]), shape[-1], geometry.kernel)
    dot = dot_of(emitter.row, geometry, channels, fraction)
    is_bits = isinstance(epilogue, Threshold)
    if is_bits and dot.lanes % 8:  # a byte of the result is of lanes of one block
        dot = replace(dot, lanes=8 * packing.ceil_div(dot.lanes, 8))
    packed = binary.pack_weights(signs, geometry.groups, dot.lanes)
    packed = packing.pack_planes(packed.reshape(*packed.shape[:2], -1, *packed.shape[-2:]), dot.weight_bits)
    fill = INT32_MAX if is_bits else 0
    per_channel = [packing.pack_channels(array, geometry.groups, dot.lanes, fill) for array in arrays]
    define = partial(
        binary.conv2d,
        geometry=geometry,
        channels=channels,
        pads_zero=data.low == -data.high,
        dot=dot,
        epilogue=epilogue,
    )
    constants = (relax.const(array) for array in (packed, *per_channel))
    result = emitter.call(define, bits, *constants, *operands_of, name=name, layer=layer)
    wanted = shape
    if is_bits:
        wanted = (*shape[:-1], int(np.prod(shape_of(result)[3:], dtype=np.int64)))
    if shape_of(result) != wanted:
        result = emitter.emit(relax.op.reshape(result, wanted), layer)
    return result if pooled is None else pooled.emit(emitter, result, geometry.groups, dot.lanes, layer)


def dot_of(row: TargetRow, geometry: Conv2d, channels: int, fraction: int) -> Dot:
    """Return how the kernel's products are laid out."""
    tail = binary.tail_of(channels // geometry.groups)
    taps = (*geometry.kernel, binary.steps_of(channels // geometry.groups))
    entry = binary.DEPTH if tail % 2 else binary.DEPTH // 2
    steps = possible_steps(taps, min(MOST_STEPS, bounds_of("int8")[1] // entry))[0]
    narrow = Narrow("int8", 1, steps, tail, fraction)
    return Dot(row.bit_dot.lanes, 1, "uint16", weight_bits=4, narrow=narrow)
