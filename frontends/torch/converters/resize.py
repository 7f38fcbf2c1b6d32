"""Images of other sizes, by the converter of ONNX's Resize."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, shape_of
from ..scope import Scope


def upsample(mode: str, antialias: bool = False) -> Callable:
    """Return the converter of an interpolation to sizes, or by factors (overloads that end in ``vec``)."""

    def convert(s: Scope, x: relax.Expr, *given) -> relax.Expr:
        overload = s.node.target._overloadname
        sizes, rest = given[0], list(given[1:])
        align_corners = False
        if mode in ("linear", "cubic"):
            align_corners = rest.pop(0)
        factors = rest[0] if rest else None
        if overload != "vec":
            factors = rest if any(factor is not None for factor in rest) else None
        transformation = "align_corners" if align_corners else "half_pixel"
        return _resized(s, x, sizes, factors, mode, transformation, antialias)

    return convert


def nearest(exact: bool) -> Callable:
    """Return the converter of the nearest element: of ``floor(i / factor)``, or of the middle of a pixel."""

    def convert(s: Scope, x: relax.Expr, sizes: Sequence[int] | None, *given) -> relax.Expr:
        overload = s.node.target._overloadname
        factors = given[0] if overload == "vec" else given
        if factors is not None and not any(factor is not None for factor in factors):
            factors = None
        return _resized(s, x, sizes, factors, "nearest", "half_pixel" if exact else "asymmetric", False)

    return convert


def _resized(
    s: Scope, x: relax.Expr, sizes: Sequence[int] | None, factors: Sequence[float] | None, mode: str,
    transformation: str, antialias: bool,
) -> relax.Expr:  # fmt: skip
    shape = shape_of(x)
    if sizes is not None:
        if factors is None:
            wanted = constant(np.array([*shape[:2], *sizes], np.int64))
            scales = None
        else:
            wanted, scales = None, constant(np.array([1, 1, *factors], np.float32))
    else:
        wanted, scales = None, constant(np.array([1, 1, *factors], np.float32))
    attributes: dict = {"mode": mode, "coordinate_transformation_mode": transformation}
    if mode == "nearest":
        attributes["nearest_mode"] = "floor" if transformation == "asymmetric" else "round_prefer_ceil"
    if mode == "cubic":
        attributes["cubic_coeff_a"] = -0.75
    if antialias:
        attributes |= {"antialias": 1, "exclude_outside": 1}
    return s.onnx("Resize", x, None, scales, wanted, **attributes)


def grid_sampler(
    s: Scope, x: relax.Expr, grid: relax.Expr, mode: int, padding: int, align_corners: bool
) -> relax.Expr:
    return s.onnx(
        "GridSample",
        x,
        grid,
        mode=("linear", "nearest", "cubic")[mode],
        padding_mode=("zeros", "border", "reflection")[padding],
        align_corners=int(align_corners),
    )
