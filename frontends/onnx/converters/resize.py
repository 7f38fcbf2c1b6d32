"""ONNX's Resize and Upsample, in every mode, for any rank.

TVM's converters scale by ``size / extent`` where ONNX scales by the given factor, ignore ``antialias``,
``axes`` and the aspect ratio's policy, and read the operands of opset 10 as those of opset 11: wrong numbers,
silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import dtype_of, is_constant, shape_of, to_numpy
from .resize_taps import Axis, Interpolation, Taps, taps_of

TEXT = ("mode", "coordinate_transformation_mode", "nearest_mode")
NUMBERS = ("cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias")

# How to keep the aspect ratio: the scale of all axes, from the scales that the sizes ask for.
POLICIES: dict[str, Callable[[np.ndarray], float]] = {"not_larger": np.min, "not_smaller": np.max}


def _interpolation(attr: dict[str, Any]) -> Interpolation:
    text = {name: attr[name].decode() for name in TEXT if name in attr}
    return Interpolation(**text, **{name: attr[name] for name in NUMBERS if name in attr})


def _values(name: str, operand: Any) -> np.ndarray | None:
    """Return a constant operand as float64; None where it is absent or empty."""
    if operand is None:
        return None
    if isinstance(operand, relax.ShapeExpr):
        return np.array([int(extent) for extent in operand.values], np.float64)
    if not is_constant(operand):
        raise ValueError(f"{name} is computed at run time; only constants are supported")
    values = to_numpy(operand).astype(np.float64)
    return values if values.size else None


def _scales_of(sizes: np.ndarray, extents: np.ndarray, policy: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the scales, and the sizes that they lead to: every policy but ``"stretch"`` has one scale."""
    scales = sizes / extents
    if policy == "stretch":
        return scales, sizes
    if policy not in POLICIES:
        raise ValueError(
            f"keep_aspect_ratio_policy {policy!r} is unknown; valid: stretch, {', '.join(POLICIES)}"
        )
    scale = POLICIES[policy](scales)
    return np.full_like(scales, scale), np.floor(scale * extents + 0.5)


def _axes(
    shape: tuple[int, ...],
    scales: np.ndarray | None,
    sizes: np.ndarray | None,
    roi: np.ndarray | None,
    axes: list[int],
    policy: str,
) -> list[Axis]:
    """Return the axes that are resized; ``scales``, ``sizes`` and ``roi`` follow the order of ``axes``."""
    extents = np.array([shape[axis] for axis in axes])
    for given in (scales, sizes):
        if given is not None and len(given) != len(axes):
            raise ValueError(f"{len(given)} scales or sizes are given for {len(axes)} axes")
    if scales is not None and sizes is None:
        sizes = np.floor(scales * extents)
    elif sizes is not None and scales is None:
        scales, sizes = _scales_of(sizes, extents, policy)
    else:
        raise ValueError("exactly one of scales and sizes is expected")
    starts, ends = (np.zeros(len(axes)), np.ones(len(axes))) if roi is None else np.split(roi, 2)
    rows = zip(axes, extents, sizes, scales, starts, ends, strict=True)
    resized = [Axis(int(a), int(n), int(m), float(s), float(b), float(e)) for a, n, m, s, b, e in rows]
    return [a for a in resized if (a.scale, a.size, a.start, a.end) != (1.0, a.extent, 0.0, 1.0)]


def _apply(bb, data: relax.Expr, axis: Axis, taps: Taps, extrapolation: float) -> relax.Expr:
    """Return the tensor with one axis resized."""
    column = [1] * len(shape_of(data))
    column[axis.axis] = axis.size
    total = None
    for tap, indices in enumerate(taps.indices):
        value = bb.normalize(relax.op.take(data, relax.const(indices), axis.axis))
        if taps.coefficients is not None:
            weight = taps.coefficients[tap].reshape(column).astype(dtype_of(data))
            value = bb.normalize(relax.op.multiply(value, relax.const(weight)))
        total = value if total is None else bb.normalize(relax.op.add(total, value))
    if not taps.outside.any():
        return total
    mask = relax.const(taps.outside.reshape(column))
    return bb.normalize(relax.op.where(mask, relax.const(extrapolation, dtype_of(data)), total))


def _is_plain_repetition(axes: list[Axis], taps: list[Taps]) -> bool:
    """Tell whether every output is the input at ``floor(y * extent / size)``."""
    return all(
        tap.coefficients is None
        and not tap.outside.any()
        and np.array_equal(tap.indices[0], np.arange(axis.size) * axis.extent // axis.size)
        for axis, tap in zip(axes, taps, strict=True)
    )


def _resize(bb, data: relax.Expr, axes: list[Axis], how: Interpolation) -> relax.Expr:
    if how.mode != "nearest" and not dtype_of(data).startswith("float"):
        raise ValueError(f"mode {how.mode!r} needs floating point, and the input is {dtype_of(data)}")
    if not axes:
        return data
    taps = [taps_of(axis, how) for axis in axes]
    shape = shape_of(data)
    if len(shape) == 4 and {axis.axis for axis in axes} <= {2, 3} and _is_plain_repetition(axes, taps):
        # One operator that the passes know, rather than the selections that it amounts to.
        sizes = dict(zip((2, 3), shape[2:], strict=True)) | {axis.axis: axis.size for axis in axes}
        return relax.op.image.resize2d(
            data,
            relax.ShapeExpr([sizes[2], sizes[3]]),
            layout="NCHW",
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        )
    for axis, tap in zip(axes, taps, strict=True):
        data = _apply(bb, data, axis, tap, how.extrapolation_value)
    return data


def _resize_by_scales(bb, data: relax.Expr, scales: np.ndarray | None, attr: dict[str, Any]) -> relax.Expr:
    """Resize as opset 10 and before define it."""
    rank = len(shape_of(data))
    how = Interpolation(attr.get("mode", b"nearest").decode(), "asymmetric", "floor")
    return _resize(bb, data, _axes(shape_of(data), scales, None, None, list(range(rank)), "stretch"), how)


class Resize(stock.OnnxOpConverter):
    """See ``resize_taps``. Scales, sizes and the region of interest must be constant."""

    @classmethod
    def _impl_v10(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        return _resize_by_scales(bb, inputs[0], _values("scales", inputs[1]), attr)

    @classmethod
    def _impl_v11(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        data, how = inputs[0], _interpolation(attr)
        crops = how.coordinate_transformation_mode == "tf_crop_and_resize"
        roi = _values("roi", inputs[1]) if crops else None
        rank = len(shape_of(data))
        axes = [axis % rank for axis in attr.get("axes", range(rank))]
        policy = attr.get("keep_aspect_ratio_policy", b"stretch").decode()
        scales, sizes = _values("scales", inputs[2]), _values("sizes", inputs[3])
        return _resize(bb, data, _axes(shape_of(data), scales, sizes, roi, axes, policy), how)


class Upsample(stock.OnnxOpConverter):
    """The forerunner of Resize."""

    @classmethod
    def _impl_v7(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        return _resize_by_scales(bb, inputs[0], np.array(attr["scales"], np.float64), attr)

    @classmethod
    def _impl_v9(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        return _resize_by_scales(bb, inputs[0], _values("scales", inputs[1]), attr)
