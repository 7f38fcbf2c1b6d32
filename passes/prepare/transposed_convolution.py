"""Transposed convolution --> a convolution that computes all phases of a stride at once, and their values in place.

    y[q s + r] = sum_t x[q - t] w[r + s t]        r = 0 ... s - 1: each phase has a filter of its own
    conv2d_transpose(x, w)  -->  place(conv2d(x, filters of s s phases))
    f(place(y))             -->  place(f(y))      f pointwise, its constants one a channel

So the kernels, and the passes that look for a bias or an activation behind a convolution, know one kind only. Where the
kernel is no multiple of the stride some filters have taps of zero: 16 instead of 9 for 3x3 and stride 2.
(Shi et al., 2016, "Is the deconvolution layer the same as a convolutional layer?")
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import constant, is_constant, layer_name, op_name, shape_of, to_numpy
from ..hub.packing import ceil_div
from .pointwise import POINTWISE, before_move
from .rewriting import Scope, apply_rule


@tvm.transform.module_pass(opt_level=0, name="tvmq.TransposedConvolution")
@dataclass(frozen=True)
class TransposedConvolution:
    """Write transposed convolutions with constant weights as convolutions."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without them."""
        return apply_rule(mod, _Rewriter().rewrite)


@dataclass(frozen=True)
class _Axis:
    """One image axis: its phases, taps of a phase, positions of a phase, padding in front and crop of the result."""

    phases: int
    taps: int
    positions: int
    padding: tuple[int, int]
    start: int
    length: int

    @classmethod
    def of(cls, stride: int, kernel: int, padding: int, extent: int, length: int) -> _Axis:
        taps = ceil_div(kernel, stride)
        positions = max(ceil_div(padding + length, stride), extent)
        return cls(stride, taps, positions, (taps - 1, positions - extent), padding, length)


@dataclass(frozen=True)
class _Placed:
    """What a convolution by phases computes before its values are put in place."""

    phases: relax.Expr
    groups: int
    axes: tuple[_Axis, _Axis]

    def place(self, scope: Scope, name: str) -> relax.Var:
        """Bind the image."""
        batch, channels = shape_of(self.phases)[:2]
        down, across = self.axes
        own = channels // (self.groups * down.phases * across.phases)
        steps = (down.positions, across.positions, self.groups, down.phases, across.phases, own)
        height, width = down.positions * down.phases, across.positions * across.phases
        value = scope.emit(relax.op.permute_dims(self.phases, [0, 2, 3, 1]), name)
        value = scope.emit(relax.op.reshape(value, (batch, *steps)), name)
        value = scope.emit(relax.op.permute_dims(value, [0, 1, 4, 2, 5, 3, 6]), name)
        value = scope.emit(relax.op.reshape(value, (batch, height, width, self.groups * own)), name)
        value = scope.emit(relax.op.permute_dims(value, [0, 3, 1, 2]), name)
        ends = [axis.start + axis.length for axis in self.axes]
        if [down.start, across.start, *ends] == [0, 0, height, width]:
            return value
        crop = relax.op.strided_slice(value, [2, 3], [down.start, across.start], ends)
        return scope.emit(crop, name)

    def constant(self, value: np.ndarray) -> relax.Expr:
        """Return one number a channel of the image as one a channel of the phases."""
        down, across = self.axes
        grouped = value.reshape(self.groups, 1, 1, -1)
        shape = (self.groups, down.phases, across.phases, grouped.shape[-1])
        return constant(np.ascontiguousarray(np.broadcast_to(grouped, shape)).reshape(1, -1, 1, 1))


class _Rewriter:
    """Knows which values are images put in place."""

    def __init__(self) -> None:
        self._placed: dict[relax.Var, _Placed] = {}

    def rewrite(self, scope: Scope, value: relax.Expr) -> relax.Expr | None:
        if op_name(value) == "relax.nn.conv2d_transpose":
            placed = _by_phases(scope, value)
        elif op_name(value) in POINTWISE:
            placed = self._pointwise(scope, value)
        else:
            return None
        if placed is None:
            return None
        image = placed.place(scope, layer_name(value))
        self._placed[image] = placed
        return image

    def _pointwise(self, scope: Scope, call: relax.Call) -> _Placed | None:
        """Return the call before its one image is put in place."""
        images = [item for item in call.args if isinstance(item, relax.Var) and item in self._placed]
        if len(images) != 1 or not scope.used_once(images[0]):
            return None
        image, placed = images[0], self._placed[images[0]]

        def phases_of(argument: relax.Expr) -> relax.Expr | None:
            return placed.phases if argument.same_as(image) else None

        def per_channel(value: np.ndarray) -> relax.Expr | None:
            channels = shape_of(image)[1]
            fits = value.shape in ((channels, 1, 1), (1, channels, 1, 1))
            return placed.constant(value) if fits else None

        made = before_move(call, phases_of, per_channel)
        if made is None:
            return None
        return _Placed(scope.emit(made, layer_name(call)), placed.groups, placed.axes)


@dataclass(frozen=True)
class _Weight:
    """A constant IOHW weight, less its zero point where it is quantized; ``pair`` dequantizes it then."""

    values: np.ndarray
    pair: relax.Call | None = None

    @classmethod
    def of(cls, scope: Scope, weight: relax.Expr, groups: int) -> _Weight | None:
        """Return what is known of a weight; None of one that varies, or whose scales are not those of its filters."""
        if is_constant(weight):
            return cls(to_numpy(weight))
        pair = scope.defined_by(weight, "relax.dequantize")
        if pair is None or not all(is_constant(argument) for argument in pair.args):
            return None
        values, scale, zero_point = (to_numpy(argument) for argument in pair.args)
        if scale.size > 1 and (pair.attrs.axis % values.ndim != 1 or groups > 1):
            return None
        if zero_point.size > 1 and zero_point.any():
            return None
        return cls(values.astype(np.int32) - int(zero_point.reshape(-1)[0]), pair)

    def again(self, scope: Scope, weights: np.ndarray, name: str) -> relax.Expr:
        """Return weights OIHW made of these, whose channels are those of the filters again and again, as these are."""
        if self.pair is None:
            return constant(weights)
        integers, scale, zero_point = (to_numpy(argument) for argument in self.pair.args)
        times = len(weights) // scale.size if scale.size > 1 else 1
        stored = (weights + int(zero_point.reshape(-1)[0])).astype(integers.dtype)
        parameters = (
            constant(np.tile(each, times) if each.size > 1 else each) for each in (scale, zero_point)
        )
        return scope.emit(
            relax.op.dequantize(constant(stored), *parameters, axis=0, out_dtype="float32"), name
        )


def _by_phases(scope: Scope, call: relax.Call) -> _Placed | None:
    """Return the convolution; None where the weights vary or the layout is another."""
    data, weight = call.args
    attrs = call.attrs
    given = _Weight.of(scope, weight, int(attrs.groups))
    if given is None or (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "IOHW"):
        return None
    values, groups = _spread(given.values, [int(step) for step in attrs.dilation]), int(attrs.groups)
    strides = [int(step) for step in attrs.strides]
    padding = [int(width) for width in attrs.padding[:2]]
    extents, lengths = shape_of(data)[2:], shape_of(call)[2:]
    down, across = (
        _Axis.of(*each) for each in zip(strides, values.shape[2:], padding, extents, lengths, strict=True)
    )
    filters = _filters(values, groups, down, across)
    widths = [down.padding[0], across.padding[0], down.padding[1], across.padding[1]]
    name = layer_name(call)

    def convolution(weights: np.ndarray) -> relax.Var:
        call = relax.op.nn.conv2d(data, given.again(scope, weights, name), padding=widths, groups=groups)
        return scope.emit(call, name)

    if groups > 1 and values.shape[:2] == (groups, 1):
        # One filter a group is a depthwise convolution, which several are not: so one for each phase.
        parts = [convolution(filters[:, phase]) for phase in range(filters.shape[1])]
        phases = scope.emit(relax.op.concat(parts, 1), name) if len(parts) > 1 else parts[0]
        return _Placed(phases, 1, (down, across))
    return _Placed(convolution(filters.reshape(-1, *filters.shape[2:])), groups, (down, across))


def _filters(weight: np.ndarray, groups: int, down: _Axis, across: _Axis) -> np.ndarray:
    """Return the filters of all phases ``[G, phases * O/G, I/G, taps, taps]`` of an IOHW weight.

    Tap t of phase r is ``weight[r + s t]``; the last comes first, as for any transposed convolution.
    """
    inputs, outputs, height, width = weight.shape
    whole = down.taps * down.phases, across.taps * across.phases
    padded = np.pad(weight, ((0, 0), (0, 0), (0, whole[0] - height), (0, whole[1] - width)))
    split = padded.reshape(
        *(groups, inputs // groups, outputs), *(down.taps, down.phases, across.taps, across.phases)
    )[:, :, :, ::-1, :, ::-1]
    ordered = split.transpose(0, 4, 6, 2, 1, 3, 5)
    count = down.phases * across.phases * outputs
    return np.ascontiguousarray(ordered).reshape(groups, count, inputs // groups, down.taps, across.taps)


def _spread(weight: np.ndarray, dilation: list[int]) -> np.ndarray:
    """Return the kernel with the zeros between its taps written out."""
    if dilation == [1, 1]:
        return weight
    extents = [(extent - 1) * step + 1 for extent, step in zip(weight.shape[2:], dilation, strict=True)]
    spread = np.zeros((*weight.shape[:2], *extents), weight.dtype)
    spread[:, :, :: dilation[0], :: dilation[1]] = weight
    return spread
