"""Fake quantization as one kernel each way.

    c = clip(x, a, b);   v = c / s;   r = min(max(rint(v), l), h);   y = s r
    where rint(v) is within the limits     dx = dy (0 where the clip has changed x),    ds += dy (r - v)
    below and above them                   dx = 0,    dl += s dy,  ds += l dy,           dh += s dy,  ds += h dy

``ds`` is that of learned step sizes (Esser et al., "Learned step size quantization", 2020), ``dl`` and ``dh`` those
of learned offsets (Bhalgat et al., "LSQ+", 2020) and of learned clips (Choi et al., "PACT", 2018): whoever computes the
three numbers from parameters of his own gets the gradients of these by the chain rule.

A sign, of which l is 0 and h is 1, passes less: dx = p dy, and ds += dy (r - p v), where p is 0 but for v between 0 and
1. There it is 1 (Rastegari et al., "XNOR-Net", 2016), or 2 - 2 |2 v - 1| (Liu et al., "Bi-Real Net", 2018).

With a drop, a random share of the values stays float in this pass (Wei et al., "QDrop", 2022): those whose hash of
place and seed is below a limit. For them y = c, and dx = dy.

One pass over memory reads and writes all of it; sums of more than ``RUN`` values are added up from those of runs, so
that they neither lose digits nor depend on threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import relax, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...hub.graph import op_name, shape_of
from ...hub.op_patterns import OPAQUE

NAME = "step"
"""Of the forward kernels, which ``is_step`` knows by it."""

LANES = 16
RUN = 1 << 14
"""Values of a run: what a thread takes at a time, and what one sum adds up."""

SCALARS = ("scale", "inverse", "low", "high")
DROPS = ("seed", "limit")
"""int32: of the hash, and how much of 2^24 is below."""

LARGE = 1 << 16
"""Values from which on threads share a kernel."""


@dataclass(frozen=True)
class Slopes:
    """How gradients pass.

    Attributes
    ----------
    clips_only : the scale's gradient is that of the limits alone, as if nothing inside were rounded (PACT).
    sign : of signs: as those of XNOR-Net (``"straight"``), or of Bi-Real Net (``"bi-real"``); None for other steps.
    """

    clips_only: bool = False
    sign: str | None = "straight"


STRAIGHT = Slopes()


def step(
    builder: relax.BlockBuilder,
    data: relax.Expr,
    scalars: list[relax.Expr],
    bounds: tuple[float, float],
    slopes: Slopes,
) -> relax.Expr:
    """Return fake quantization of a float32 tensor.

    Parameters
    ----------
    scalars : those of ``SCALARS``, float32 tensors of shape ``()``, and those of ``DROPS`` where some values are
        dropped.
    bounds : a and b.
    slopes : how gradients pass; that of a sign only where low is 0 and high is 1.
    """
    shape = shape_of(data)
    size = math.prod(shape)
    flat = builder.emit(relax.op.reshape(data, (size,)))
    function = _forward(size, bounds, len(scalars) > len(SCALARS))
    attrs = {"clips_only": int(slopes.clips_only), "sign": slopes.sign or ""}
    var = builder.add_func(function.with_attrs(attrs), NAME)
    result = builder.emit(relax.call_tir(var, [flat, *scalars], relax.TensorType((size,), "float32")))
    return relax.op.reshape(result, shape)


def is_step(call: relax.Expr) -> bool:
    """Tell whether a call is one that ``step`` returns."""
    return op_name(call) == "relax.call_tir" and call.args[0].name_hint.rstrip("0123456789_") == NAME


def rule(at: Any) -> list[relax.Expr | None]:
    """Return the gradients of a step's operands; see ``rules.Backward``."""
    function, operands = at.call.args[0], list(at.call.args[1].fields)
    data, scale, inverse, low, high, *drops = operands
    attrs = at.builder.get()[function].attrs
    bounds = float(attrs["low"]), float(attrs["high"])
    (size,) = shape_of(data)
    var = at.builder.add_func(_backward(size, bounds, bool(drops), str(attrs["sign"])), f"gradient_of_{NAME}")
    types = [relax.TensorType((size,), "float32"), relax.TensorType((_runs(size), 3, LANES), "float32")]
    both = at.emit(relax.call_tir(var, [data, at.gradient, inverse, low, high, *drops], types))
    of_data, sums = (at.emit(relax.TupleGetItem(both, place)) for place in range(2))
    inside, below, above = (
        at.emit(relax.op.strided_slice(at.emit(relax.op.sum(sums, [0, 2])), [0], [place], [place + 1]))
        for place in range(3)
    )
    _, wanted_data, wanted_scale, _, wanted_low, wanted_high, *_ = at.wanted

    def product(sum_of: relax.Expr, factor: relax.Expr) -> relax.Expr:
        return at.emit(relax.op.multiply(sum_of, factor))

    def number(value: relax.Expr) -> relax.Expr:
        return relax.op.reshape(value, ())

    outside = at.emit(relax.op.add(product(below, low), product(above, high)))
    of_scale = outside if int(attrs["clips_only"]) else at.emit(relax.op.add(inside, outside))
    return [
        None,
        of_data if wanted_data else None,
        number(of_scale) if wanted_scale else None,
        None,
        number(product(below, scale)) if wanted_low else None,
        number(product(above, scale)) if wanted_high else None,
    ]


def _runs(size: int) -> int:
    return -(-size // RUN)


_ZERO = tirx.const(0.0, "float32")
_HALF = tirx.const(0.5, "float32")
_ONE = tirx.const(1.0, "float32")
_TWO = tirx.const(2.0, "float32")
_FOUR = tirx.const(4.0, "float32")


class _Formula:
    """What happens to one value, or a vector of them."""

    def __init__(self, scalars: dict[str, Any], bounds: tuple[float, float], sign: str = ""):
        self._scalars, self._bounds, self._sign = scalars, bounds, sign

    @property
    def scale(self) -> Any:
        return self._scalars["scale"]

    @property
    def inverse(self) -> Any:
        return self._scalars["inverse"]

    def clipped(self, value: Any) -> Any:
        low, high = self._bounds
        if low > -math.inf:
            value = tirx.max(value, tirx.const(low, "float32"))
        return tirx.min(value, tirx.const(high, "float32")) if high < math.inf else value

    def rounded(self, steps: Any) -> Any:
        # ``lrint`` as in ``passes.realize.compute.epilogue``: TVM's vectorizer takes ``nearbyint`` apart.
        limited = tirx.max(tirx.min(steps, self._scalars["high"]), self._scalars["low"])
        return tirx.call_llvm_pure_intrin("int32", "llvm.lrint", limited).astype("float32")

    def slope(self, steps: Any) -> Any:
        """Return what a sign passes of a gradient."""
        from_half = tirx.max(steps - _HALF, _HALF - steps)
        if self._sign == "straight":
            return tirx.Select(from_half <= _HALF, _ONE, _ZERO)
        return tirx.max(_TWO - from_half * _FOUR, _ZERO)

    def dropped(self, place: Any) -> Any:
        """Tell whether a value stays float, by a hash of its place (the finalizer of MurmurHash3)."""

        def number(value: int) -> Any:
            return tirx.const(value, "uint32")

        word = (place.astype("uint32") * number(0x9E3779B1)) ^ self._scalars["seed"].astype("uint32")
        word = (word ^ (word >> number(16))) * number(0x85EBCA6B)
        word = (word ^ (word >> number(13))) * number(0xC2B2AE35)
        word = (word ^ (word >> number(16))) >> number(8)
        return word.astype("int32") < self._scalars["limit"]

    def shares(self, data: Any, gradient: Any, place: Any) -> tuple[Any, Any, Any, Any]:
        """Return the gradient of a value, and what it adds to the sums inside, below and above the limits."""
        steps = self.clipped(data) * self.inverse
        rounded = self.rounded(steps)
        change = rounded - steps
        below, above = change > _HALF, change < -_HALF
        inside = tirx.Select(tirx.Or(below, above), _ZERO, gradient)
        counted, passed = gradient, gradient * self.slope(steps) if self._sign else inside
        of_scale = inside * rounded - passed * steps if self._sign else inside * change
        if place is not None:
            kept = self.dropped(place)
            counted, passed = tirx.Select(kept, _ZERO, gradient), tirx.Select(kept, gradient, passed)
            of_scale = tirx.Select(kept, _ZERO, of_scale)
        low, high = self._bounds
        if low > -math.inf:
            passed = tirx.Select(data > tirx.const(low, "float32"), passed, _ZERO)
        if high < math.inf:
            passed = tirx.Select(data < tirx.const(high, "float32"), passed, _ZERO)
        return (
            passed,
            of_scale,
            tirx.Select(below, counted, _ZERO),
            tirx.Select(above, counted, _ZERO),
        )


def _scalar_arguments(names: tuple[str, ...], dtype: str) -> dict[str, Any]:
    return {name: T.arg(name, T.buffer((), dtype)) for name in names}


def _drop_arguments(drops: bool) -> dict[str, Any]:
    return _scalar_arguments(DROPS, "int32") if drops else {}


def _loaded(buffers: dict[str, Any]) -> dict[str, Any]:
    return {name: tirx.BufferLoad(buffer, []) for name, buffer in buffers.items()}


def _over_runs(size: int, body: Any, start: Any = None) -> None:
    """Call ``body(place, run, lane)`` for each value, whole vectors first; ``start(run)`` before those of a run."""
    loop = T.parallel if size >= LARGE else T.serial
    with loop(0, _runs(size)) as run:
        first = run * RUN
        count = tirx.min(RUN, size - first)
        if start is not None:
            start(run)
        with T.serial(0, count // LANES) as vector, T.vectorized(0, LANES) as lane:
            body(first + vector * LANES + lane, run, lane)
        if size % LANES:
            with T.serial(0, count % LANES) as rest:
                body(first + count // LANES * LANES + rest, run, 0)


def _finished(builder: IRBuilder, bounds: tuple[float, float]) -> tirx.PrimFunc:
    low, high = bounds
    attrs = {"low": tirx.const(low, "float32"), "high": tirx.const(high, "float32")}
    return builder.get().with_attrs({"tirx.is_scheduled": True, "op_pattern": OPAQUE, **attrs})


def _forward(size: int, bounds: tuple[float, float], drops: bool) -> tirx.PrimFunc:
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("x", T.buffer((size,), "float32"))
        scalars = _scalar_arguments(SCALARS, "float32") | _drop_arguments(drops)
        result = T.arg("y", T.buffer((size,), "float32"))
        with T.sblock("root"), T.sblock("step"):
            T.reads(data[0:size])
            T.writes(result[0:size])
            formula = _Formula(_loaded(scalars), bounds)

            def body(place: Any, run: Any, lane: Any) -> None:
                value = formula.clipped(data[place])
                rounded = formula.rounded(value * formula.inverse) * formula.scale
                kept = tirx.Select(formula.dropped(place), value, rounded) if drops else rounded
                T.buffer_store(result, kept, [place])

            _over_runs(size, body)
    return _finished(builder, bounds)


def _backward(size: int, bounds: tuple[float, float], drops: bool, sign: str) -> tirx.PrimFunc:
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data, gradient = (T.arg(name, T.buffer((size,), "float32")) for name in ("x", "dy"))
        scalars = _scalar_arguments(SCALARS[1:], "float32") | _drop_arguments(drops)
        of_data = T.arg("dx", T.buffer((size,), "float32"))
        sums = T.arg("sums", T.buffer((_runs(size), 3, LANES), "float32"))
        with T.sblock("root"), T.sblock("step"):
            T.reads(data[0:size], gradient[0:size])
            T.writes(of_data[0:size], sums[0 : _runs(size), 0:3, 0:LANES])
            formula = _Formula(_loaded(scalars), bounds, sign)

            def start(run: Any) -> None:
                for which in range(3):
                    with T.vectorized(0, LANES) as lane:
                        T.buffer_store(sums, _ZERO, [run, which, lane])

            def body(place: Any, run: Any, lane: Any) -> None:
                passed, *parts = formula.shares(data[place], gradient[place], place if drops else None)
                T.buffer_store(of_data, passed, [place])
                for which, part in enumerate(parts):
                    T.buffer_store(sums, sums[run, which, lane] + part, [run, which, lane])

            _over_runs(size, body, start)
    return _finished(builder, bounds)
