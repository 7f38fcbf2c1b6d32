"""Convolution and pooling of volumes --> the same of images.

    frames   [N D, C, H, W]     of a volume [N, C, D, H, W]: each slice of its depth is an image
    columns  [N, C, D, H W]     the depth is the height of an image

    a kernel of depth 1          -->  conv2d on frames
    a kernel of 1 x 1 in a slice -->  conv2d on columns
    any other                    -->  conv2d on frames, with the slices that the kernel's depth covers side by side as
                                      channels
    pooling                      -->  pooling of frames, then of columns
    f(volumes)                   -->  f(frames)          f pointwise, its constants with one axis less

So the kernels, and the passes that look for a bias or an activation behind a convolution, know images only. Frames and
columns are the same memory where channels come last, as they do in every kernel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import constant, is_constant, layer_name, op_name, shape_of, to_numpy
from .pointwise import POINTWISE, before_move
from .rewriting import Scope, apply_rule
from .trim_taps import useful_taps

AXES = 5


@tvm.transform.module_pass(opt_level=0, name="tvmq.FlattenVolumes")
@dataclass(frozen=True)
class FlattenVolumes:
    """Write operators on ``[N, C, D, H, W]`` as those on images; convolutions must have constant weights."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with volumes only where no image can stand for them."""
        return apply_rule(mod, _Rewriter().rewrite)


@dataclass(frozen=True)
class _Volume:
    """A volume as its frames, ``[N D, C, H, W]``."""

    frames: relax.Expr
    depth: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, D, H, W)."""
        images, channels, height, width = shape_of(self.frames)
        return images // self.depth, channels, self.depth, height, width


@dataclass(frozen=True)
class _Window:
    """A window of convolution or pooling: along the depth, and in a slice."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, kernel: Sequence[int], attrs) -> _Window:
        values = (attrs.strides, attrs.padding, attrs.dilation)
        return cls(tuple(int(k) for k in kernel), *(tuple(int(each) for each in value) for value in values))

    @property
    def moves_along_depth(self) -> bool:
        return (self.kernel[0], self.strides[0], self.padding[0], self.padding[3]) != (1, 1, 0, 0)

    @property
    def moves_in_a_slice(self) -> bool:
        inside = (*self.padding[1:3], *self.padding[4:])
        return (*self.kernel[1:], *self.strides[1:], *inside) != (1, 1, 1, 1, 0, 0, 0, 0)

    def in_a_slice(self) -> dict[str, tuple[int, ...]]:
        """Return what a two-dimensional operator takes, for frames."""
        padding = (*self.padding[1:3], *self.padding[4:])
        return {"strides": self.strides[1:], "padding": padding, "dilation": self.dilation[1:]}

    def along_depth(self) -> dict[str, tuple[int, ...]]:
        """Return the same for columns."""
        return {
            "strides": (self.strides[0], 1),
            "padding": (self.padding[0], 0, self.padding[3], 0),
            "dilation": (self.dilation[0], 1),
        }


class _Rewriter:
    """Knows the frames of each volume."""

    def __init__(self) -> None:
        self._volumes: dict[relax.Var, _Volume] = {}

    def rewrite(self, scope: Scope, value: relax.Expr) -> relax.Expr | None:
        name, kind = layer_name(value), op_name(value)
        if kind in _WINDOWED:
            volume = _WINDOWED[kind](_Emitter(scope, name), value, self._of(scope, value.args[0], name))
        elif kind in _POOLED:
            return self._mean(scope, value)
        elif kind in POINTWISE and len(shape_of(value)) == AXES:
            volume = self._pointwise(scope, value)
        else:
            return None
        if volume is None:
            return None
        whole = _Emitter(scope, name).volume(volume)
        self._volumes[whole] = volume
        return whole

    def _of(self, scope: Scope, value: relax.Expr, name: str) -> _Volume:
        """Return the frames of a volume, which are made of it where nobody has them."""
        if value not in self._volumes:
            batch, channels, depth, height, width = shape_of(value)
            emit = _Emitter(scope, name)
            moved = emit(relax.op.permute_dims(value, [0, 2, 3, 4, 1]))
            image = emit(relax.op.reshape(moved, (batch * depth, height, width, channels)))
            self._volumes[value] = _Volume(emit(relax.op.permute_dims(image, [0, 3, 1, 2])), depth)
        return self._volumes[value]

    def _pointwise(self, scope: Scope, call: relax.Call) -> _Volume | None:
        """Return the call on frames, where each operand is a volume of the same depth, or a constant that fits."""
        found: list[_Volume] = []

        def frames_of(argument: relax.Expr) -> relax.Expr | None:
            if argument not in self._volumes or shape_of(argument) != shape_of(call):
                return None
            found.append(self._volumes[argument])
            return found[-1].frames

        def of_a_slice(value: np.ndarray) -> relax.Expr | None:
            full = (1,) * (AXES - value.ndim) + value.shape
            return constant(value.reshape(1, full[1], *full[3:])) if full[0] == full[2] == 1 else None

        made = before_move(call, frames_of, of_a_slice)
        if made is None or not found:
            return None
        return _Volume(scope.emit(made, layer_name(call)), found[0].depth)

    def _mean(self, scope: Scope, call: relax.Call) -> relax.Expr | None:
        """Return the average over the whole volume as that of one image."""
        if call.args[0] not in self._volumes or not _POOLED[op_name(call)](call):
            return None
        volume, emit = self._volumes[call.args[0]], _Emitter(scope, layer_name(call))
        image = emit.columns(volume, flat=True)
        mean = emit(relax.op.mean(image, [2, 3], keepdims=False))
        return relax.op.reshape(mean, shape_of(call))


def _averages_all(call: relax.Call) -> bool:
    axes = call.attrs.axis
    return axes is not None and sorted(int(axis) % AXES for axis in axes) == [2, 3, 4]


def _pools_to_one(call: relax.Call) -> bool:
    return call.attrs.layout == "NCDHW" and shape_of(call)[2:] == (1, 1, 1)


_POOLED = {"relax.mean": _averages_all, "relax.nn.adaptive_avg_pool3d": _pools_to_one}


@dataclass(frozen=True)
class _Emitter:
    """Binds calls of one layer."""

    scope: Scope
    name: str

    def __call__(self, call: relax.Expr) -> relax.Var:
        return self.scope.emit(call, self.name)

    def volume(self, volume: _Volume) -> relax.Var:
        """Bind the volume itself."""
        batch, channels, depth, height, width = volume.shape
        moved = self(relax.op.permute_dims(volume.frames, [0, 2, 3, 1]))
        whole = self(relax.op.reshape(moved, (batch, depth, height, width, channels)))
        return self(relax.op.permute_dims(whole, [0, 4, 1, 2, 3]))

    def columns(self, volume: _Volume, flat: bool = False) -> relax.Var:
        """Bind the volume's columns, ``[N, C, D, H W]``; ``flat`` ones are ``[N, C, 1, D H W]``."""
        batch, channels, depth, height, width = volume.shape
        moved = self(relax.op.permute_dims(volume.frames, [0, 2, 3, 1]))
        inside = (1, depth * height * width) if flat else (depth, height * width)
        image = self(relax.op.reshape(moved, (batch, *inside, channels)))
        return self(relax.op.permute_dims(image, [0, 3, 1, 2]))

    def of_columns(self, columns: relax.Expr, height: int, width: int) -> _Volume:
        """Bind the frames of a volume of which these are the columns."""
        batch, channels, depth, _ = shape_of(columns)
        moved = self(relax.op.permute_dims(columns, [0, 2, 3, 1]))
        image = self(relax.op.reshape(moved, (batch * depth, height, width, channels)))
        return _Volume(self(relax.op.permute_dims(image, [0, 3, 1, 2])), depth)


def _conv(emit: _Emitter, call: relax.Call, volume: _Volume) -> _Volume | None:
    attrs = call.attrs
    if not is_constant(call.args[1]) or (attrs.data_layout, attrs.kernel_layout) != ("NCDHW", "OIDHW"):
        return None
    weight, groups = to_numpy(call.args[1]), int(attrs.groups)
    weight, window = _within_depth(
        weight, _Window.of(weight.shape[2:], attrs), volume.depth, shape_of(call)[2]
    )
    _, _, _, height, width = volume.shape
    if not window.moves_along_depth:
        frames = relax.op.nn.conv2d(
            volume.frames, constant(weight[:, :, 0]), groups=groups, **window.in_a_slice()
        )
        return _Volume(emit(frames), volume.depth)
    columns = emit.columns(volume)
    if not window.moves_in_a_slice:
        made = relax.op.nn.conv2d(columns, constant(weight[..., 0]), groups=groups, **window.along_depth())
        return emit.of_columns(emit(made), height, width)
    slices = _slices(emit, columns, window, height, width)
    if groups == 1:
        together = (
            emit(relax.op.concat([each.frames for each in slices], 1))
            if len(slices) > 1
            else slices[0].frames
        )
        flat = weight.transpose(0, 2, 1, 3, 4).reshape(weight.shape[0], -1, *weight.shape[3:])
        made = relax.op.nn.conv2d(together, constant(flat), **window.in_a_slice())
        return _Volume(emit(made), slices[0].depth)
    # Channels of a group lie side by side, so each slice of the kernel is a convolution of its own.
    parts = [
        emit(
            relax.op.nn.conv2d(
                each.frames, constant(weight[:, :, place]), groups=groups, **window.in_a_slice()
            )
        )
        for place, each in enumerate(slices)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = emit(relax.op.add(total, part))
    return _Volume(total, slices[0].depth)


def _within_depth(weight: np.ndarray, window: _Window, depth: int, count: int) -> tuple[np.ndarray, _Window]:
    """Return the kernel without the slices that only ever meet padding, and its window."""
    front, back = window.padding[0], window.padding[3]
    found = useful_taps(
        *(depth, count, window.kernel[0], window.strides[0], window.dilation[0]), (front, back)
    )
    if found is None:
        return weight, window
    kept, (front, back) = found
    weight = weight[:, :, kept]
    padding = (front, *window.padding[1:3], back, *window.padding[4:])
    return weight, dataclasses.replace(window, kernel=weight.shape[2:], padding=padding)


def _slices(emit: _Emitter, columns: relax.Expr, window: _Window, height: int, width: int) -> list[_Volume]:
    """Return for each slice of the kernel the frames that it meets."""
    front, back = window.padding[0], window.padding[3]
    if front or back:
        columns = emit(relax.op.nn.pad(columns, [0, 0, 0, 0, front, back, 0, 0]))
    depth = shape_of(columns)[2]
    kernel, stride, dilation = window.kernel[0], window.strides[0], window.dilation[0]
    count = (depth - (kernel - 1) * dilation - 1) // stride + 1
    found = []
    for place in range(kernel):
        start = place * dilation
        stop = start + (count - 1) * stride + 1
        part = emit(relax.op.strided_slice(columns, [2], [start], [stop], [stride]))
        found.append(emit.of_columns(part, height, width))
    return found


def _pool(pool):
    def make(emit: _Emitter, call: relax.Call, volume: _Volume) -> _Volume | None:
        attrs = call.attrs
        if attrs.layout != "NCDHW":
            return None
        window = _Window.of(attrs.pool_size, attrs)
        options = {"ceil_mode": attrs.ceil_mode, "count_include_pad": attrs.count_include_pad}
        if window.moves_in_a_slice:
            frames = pool(volume.frames, window.kernel[1:], **window.in_a_slice(), **options)
            volume = _Volume(emit(frames), volume.depth)
        if window.moves_along_depth:
            _, _, _, height, width = volume.shape
            columns = pool(emit.columns(volume), (window.kernel[0], 1), **window.along_depth(), **options)
            volume = emit.of_columns(emit(columns), height, width)
        return volume

    return make


_WINDOWED = {
    "relax.nn.conv3d": _conv,
    "relax.nn.max_pool3d": _pool(relax.op.nn.max_pool2d),
    "relax.nn.avg_pool3d": _pool(relax.op.nn.avg_pool2d),
}
"""``(emit, call, volume) -> the call's volume``; None where its layout is another or its weights vary."""
