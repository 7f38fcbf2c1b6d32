"""ONNX's Resize, one axis at a time: from which positions each output is made, and with which coefficients.

Output ``y`` of an axis sits at the position ``x(y)`` of the input, which the coordinate transformation gives.
It is ``sum_i K((i - x) * s) * input[i]`` over the positions ``i`` within the kernel's support, ``input``
continued by its edge values. ``K`` is the hat for linear, Keys' kernel for cubic, and ``s`` is 1, or with
antialiasing ``min(scale, 1)`` (the sum is then divided by the coefficients' sum). Nearest takes
``input[round(x)]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@dataclass(frozen=True)
class Interpolation:
    """How to resize: ONNX's attributes, with their names, values and defaults.

    Raises
    ------
    ValueError : a mode is unknown.
    """

    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    antialias: int = 0

    def __post_init__(self) -> None:
        for name, valid in (
            ("mode", ("nearest", "linear", "cubic")),
            ("coordinate_transformation_mode", tuple(COORDINATES)),
            ("nearest_mode", tuple(NEAREST)),
        ):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; valid: {', '.join(valid)}")
        if self.antialias and self.mode == "nearest":
            raise ValueError("antialias goes with the modes linear and cubic only")


@dataclass(frozen=True)
class Axis:
    """One resized axis.

    Attributes
    ----------
    axis : which one.
    extent : positions before.
    size : positions after.
    scale : how many times longer it gets; the size is rounded, so not always ``size / extent``.
    start, end : the part of the input that is wanted, 0 to 1; for ``tf_crop_and_resize``.
    """

    axis: int
    extent: int
    size: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Taps:
    """What each output of an axis is made of.

    Attributes
    ----------
    indices : int64 ``[taps, size]``, each within the axis.
    coefficients : float32 ``[taps, size]``; None for a plain selection, which has one tap.
    outside : bool ``[size]``, the outputs that are the extrapolation value instead.
    """

    indices: np.ndarray
    coefficients: np.ndarray | None
    outside: np.ndarray


def _align_corners(y: np.ndarray, axis: Axis) -> np.ndarray:
    length = axis.scale * axis.extent
    return y * 0 if length == 1 else y * (axis.extent - 1) / (length - 1)


def _crop_and_resize(y: np.ndarray, axis: Axis) -> np.ndarray:
    length, last = axis.scale * axis.extent, axis.extent - 1
    along = np.full_like(y, 0.5) if length == 1 else y / (length - 1)
    return (axis.start + along * (axis.end - axis.start)) * last


def _half_pixel(y: np.ndarray, axis: Axis) -> np.ndarray:
    return (y + 0.5) / axis.scale - 0.5


def _half_pixel_symmetric(y: np.ndarray, axis: Axis) -> np.ndarray:
    lost = 1 - axis.size / (axis.scale * axis.extent)
    return _half_pixel(y, axis) + lost * axis.extent / 2


def _pytorch_half_pixel(y: np.ndarray, axis: Axis) -> np.ndarray:
    return np.full_like(y, -0.5) if axis.scale * axis.extent == 1 else _half_pixel(y, axis)


COORDINATES: dict[str, Callable[[np.ndarray, Axis], np.ndarray]] = {
    "align_corners": _align_corners,
    "asymmetric": lambda y, axis: y / axis.scale,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_crop_and_resize": _crop_and_resize,
}
"""Coordinate transformation to ``(outputs 0, 1, ... as float64, axis) -> positions in the input``."""


def _hat(t: np.ndarray, a: float) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(t))


def _keys(t: np.ndarray, a: float) -> np.ndarray:
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


# The kernel and how far it reaches.
KERNELS: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], int]] = {
    "linear": (_hat, 1),
    "cubic": (_keys, 2),
}


def taps_of(axis: Axis, how: Interpolation) -> Taps:
    """Return the taps of each output position of the axis."""
    x = COORDINATES[how.coordinate_transformation_mode](np.arange(axis.size, dtype=np.float64), axis)
    last = axis.extent - 1
    crops = how.coordinate_transformation_mode == "tf_crop_and_resize"
    outside = ((x < 0) | (x > last)) & crops
    if how.mode == "nearest":
        indices = NEAREST[how.nearest_mode](x)[None, :]
        return Taps(np.clip(indices, 0, last).astype(np.int64), None, outside)
    kernel, reach = KERNELS[how.mode]
    shrink = min(axis.scale, 1.0) if how.antialias else 1.0
    span = int(np.ceil(reach / shrink))
    indices = np.floor(x)[None, :] + np.arange(1 - span, span + 1)[:, None]
    coefficients = kernel((indices - x) * shrink, how.cubic_coeff_a)
    if how.exclude_outside:
        coefficients = np.where((indices < 0) | (indices > last), 0.0, coefficients)
    coefficients /= coefficients.sum(axis=0)
    return Taps(np.clip(indices, 0, last).astype(np.int64), coefficients.astype(np.float32), outside)
