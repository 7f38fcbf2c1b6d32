"""Kernels of this machine for what NumPy is slow at: depthwise convolutions and quantizers, forwards and backwards.

NumPy goes through whole arrays for each operation of a formula: nine taps of a filter are 18 passes over an image. A
kernel reads each vector once and keeps what it computes in registers. Kernels have one thread: those that NumPy has for
products of matrices go on spinning on all cores for a while, and a second pool would wait for them (on two cores
MobileNetV2's sections learn half as fast then).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...targets.parse import parse_target

LANES = 16
"""Of a vector of float32, at most; LLVM makes several of it where registers are shorter."""
RUN = 1 << 13
"""Values that are summed up one by one: sums of more lose digits."""
_ALIGNMENT = 4
"""Of arrays, in bytes: NumPy promises no more."""

Kernel = Callable[..., None]
"""Takes arrays, and numbers behind them; the last arrays are new ones, to which it writes its results."""


@cache
def depthwise(
    channels: int, taps: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Kernel, Kernel, Kernel]:
    """Return a depthwise convolution of padded images, and the gradients of its operands.

        forward(x, w, y)        y[n, p, q, c] = sum over i, j  x[n, p s + i d, q s + j d, c] w[i, j, c]
        to_data(w, dy, dx)      dx from dy
        to_weight(x, dy, dw)    dw from dy, one of each sample, to be summed up

    Parameters
    ----------
    channels : of the images.
    taps, strides, dilation : of rows and of columns: how many ``i, j`` there are, ``s`` and ``d``.

    The arrays are float32: ``x, dx [N, H, W, C]``, ``w [KH, KW, C]``, ``y, dy [N, OH, OW, C]``, ``dw [N, KH, KW, C]``.
    """
    lanes = next(lanes for lanes in (LANES, 8, 4, 2, 1) if channels % lanes == 0)
    blocks, places, zero = channels // lanes, list(np.ndindex(*taps)), tirx.const(0.0, "float32")

    def seen(image: Any, row: Any, column: Any, place: tuple[int, ...], channel: Any) -> tuple[Any, ...]:
        """Return where in ``x`` the filter's ``place`` lies."""
        top, left = (at * step for at, step in zip(place, dilation, strict=True))
        return image, row * strides[0] + top, column * strides[1] + left, channel

    def forward() -> None:
        count, height, width, rows, columns = extents("n h w oh ow")
        data, weight = array("x", count, height, width, channels), array("w", *taps, channels)
        result = array("y", count, rows, columns, channels)
        with (
            T.grid(count, rows, columns, blocks) as (image, row, column, block),
            T.vectorized(0, lanes) as lane,
        ):
            channel = block * lanes + lane
            products = [
                data[seen(image, row, column, place, channel)] * weight[place + (channel,)]
                for place in places
            ]
            T.buffer_store(result, sum(products, zero), [image, row, column, channel])

    def to_data() -> None:
        count, height, width, rows, columns = extents("n h w oh ow")
        weight, gradient = array("w", *taps, channels), array("dy", count, rows, columns, channels)
        of_data = array("dx", count, height, width, channels)
        with T.serial(0, count) as image:
            with T.grid(height, width, blocks) as (row, column, block), T.vectorized(0, lanes) as lane:
                T.buffer_store(of_data, zero, [image, row, column, block * lanes + lane])
            with T.grid(rows, columns, blocks) as (row, column, block), T.vectorized(0, lanes) as lane:
                channel = block * lanes + lane
                for place in places:
                    share = gradient[image, row, column, channel] * weight[place + (channel,)]
                    _add(of_data, share, seen(image, row, column, place, channel))

    def to_weight() -> None:
        count, height, width, rows, columns = extents("n h w oh ow")
        data = array("x", count, height, width, channels)
        gradient = array("dy", count, rows, columns, channels)
        of_weight = array("dw", count, *taps, channels)
        # By channels first, so that the sums of all taps stay in registers.
        with T.grid(count, blocks) as (image, block):
            with T.vectorized(0, lanes) as lane:
                for place in places:
                    T.buffer_store(of_weight, zero, [image, *place, block * lanes + lane])
            with T.grid(rows, columns) as (row, column), T.vectorized(0, lanes) as lane:
                channel = block * lanes + lane
                for place in places:
                    product = (
                        gradient[image, row, column, channel] * data[seen(image, row, column, place, channel)]
                    )
                    _add(of_weight, product, (image, *place, channel))

    return compiled(forward), compiled(to_data), compiled(to_weight)


@cache
def quantizer(drops: bool) -> tuple[Kernel, Kernel]:
    """Return an activation's quantization forwards and backwards; see ``passes.improve.learned``.

        forward(x, y, 1 / s, s, l, h)           y = s clip(rint(x / s), l, h)
        backward(x, dy, dx, ds, 1 / s, l, h)    dx = dy where only rounding has changed x, else 0, and in ds what is
                                                to be summed up for ds: ``sums_of(size)`` elements

    Parameters
    ----------
    drops : whether both take ``k, t`` in front: random bytes, uint8, and how many of their 256 values leave an ``x``
        as it is.

    The arrays are flat and float32.
    """

    def dropped(size: Any) -> list[Any]:
        return [array("k", size, dtype="uint8"), *numbers("t", "int32")] if drops else []

    def in_steps(
        value: Any, place: Any, inverse: Any, low: Any, high: Any, random: Any = None, limit: Any = None
    ) -> tuple[Any, Any]:
        """Return a value in steps, and what becomes of it."""
        steps = value * inverse
        # ``lrint`` as in ``passes.realize.compute.epilogue``: TVM's vectorizer takes ``nearbyint`` apart.
        limited = tirx.max(tirx.min(steps, high), low)
        rounded = tirx.call_llvm_pure_intrin("int32", "llvm.lrint", limited).astype("float32")
        return steps, tirx.Select(random[place].astype("int32") < limit, steps, rounded) if drops else rounded

    def forward() -> None:
        (size,) = extents("size")
        drop = dropped(size)
        data, result = array("x", size), array("y", size)
        inverse, scale, low, high = numbers("inverse scale low high")

        def body(place: Any, _: Any) -> None:
            rounded = in_steps(data[place], place, inverse, low, high, *drop)[1]
            T.buffer_store(result, rounded * scale, [place])

        _in_runs(size, body)

    def backward() -> None:
        (size,) = extents("size")
        drop = dropped(size)
        data, gradient = array("x", size), array("dy", size)
        of_data, of_scale = array("dx", size), array("ds", sums_of(size))
        inverse, low, high = numbers("inverse low high")

        def body(place: Any, sum_place: Any) -> None:
            steps, rounded = in_steps(data[place], place, inverse, low, high, *drop)
            change = rounded - steps
            inside = tirx.abs(change) <= tirx.const(0.5, "float32")
            T.buffer_store(of_data, tirx.Select(inside, gradient[place], tirx.const(0.0, "float32")), [place])
            # Beyond the limits a value is the limit, whatever it is.
            _add(of_scale, gradient[place] * tirx.Select(inside, change, rounded), (sum_place,))

        with T.serial(0, sums_of(size)) as place:
            T.buffer_store(of_scale, tirx.const(0.0, "float32"), [place])
        _in_runs(size, body)

    return compiled(forward), compiled(backward)


def sums_of(size: Any) -> Any:
    """Return how many sums a quantizer's ``backward`` has of so many values."""
    return _runs(size) * LANES


def _in_runs(size: Any, body: Callable[[Any, Any], None]) -> None:
    """Call ``body`` with the place of each value, and with that of the sum that the value goes to."""
    with T.serial(0, _runs(size)) as run:
        start = run * RUN
        count = tirx.min(RUN, size - start)
        with T.serial(0, count // LANES) as vector, T.vectorized(0, LANES) as lane:
            body(start + vector * LANES + lane, run * LANES + lane)
        with T.serial(0, count % LANES) as rest:
            body(start + count // LANES * LANES + rest, run * LANES)


def _runs(size: Any) -> Any:
    return (size + (RUN - 1)) // RUN


def extents(names: str) -> list[Any]:
    """Return variables of extents that are known when the kernel runs."""
    return [tirx.Var(name, "int32") for name in names.split()]


def numbers(names: str, dtype: str = "float32") -> list[Any]:
    """Return arguments of the function that is being written: numbers."""
    return [T.arg(name, tirx.Var(name, dtype)) for name in names.split()]


def array(name: str, *shape: Any, dtype: str = "float32") -> Any:
    """Return one that is an array."""
    return T.arg(name, T.buffer(shape, dtype, align=_ALIGNMENT))


def _add(buffer: Any, value: Any, place: tuple[Any, ...]) -> None:
    T.buffer_store(buffer, buffer[place] + value, list(place))


def compiled(body: Callable[[], None]) -> Kernel:
    """Compile the function that ``body`` writes for this machine."""
    with IRBuilder() as builder, T.prim_func(s_tir=False):
        T.func_name("main")
        body()
    module = tvm.IRModule({"main": builder.get()})
    main = tvm.compile(module, target=parse_target("llvm -mcpu=native"))["main"]

    def run(*arguments: np.ndarray | float) -> None:
        main(*(_tensor(value) if isinstance(value, np.ndarray) else value for value in arguments))

    return run


def _tensor(array: np.ndarray) -> tvm_ffi.Tensor:
    # DLPack has no arrays that may not be written to.
    return tvm_ffi.from_dlpack(np.require(array, requirements=["C", "W"]), require_alignment=_ALIGNMENT)
