"""Kernels of threads by themselves: vectors at whatever places, reductions of an element, all dtypes and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import te, tirx

from tvmq.passes.realize.compute.annotations import KERNEL
from tvmq.passes.realize.compute.concat import concat
from tvmq.schedules.cuda.kernels import cuda_kernel

from .te_kernels import ROW, launches, placeholder, run

pytestmark = pytest.mark.usefixtures("gpu_compiler")

CHANNELS = [1, 5, 7, 16, 31, 32]
DTYPES = ("int8", "int32", "float32", "int64", "float16", "bool")


@pytest.mark.parametrize("channels", CHANNELS)
def test_elements_of_any_dtype_and_number_of_channels(channels: int) -> None:
    x = np.random.default_rng(channels).integers(0, 2, (3, 9, channels))
    arrays = [x.astype(dtype) for dtype in DTYPES]
    data = [placeholder(x.shape, dtype, dtype) for dtype in DTYPES]
    found = run(te.create_prim_func([*data, *map(_doubled, data)]), *arrays)
    for array, result in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(result, ~array if array.dtype == bool else array + array)


def _doubled(data: te.Tensor) -> te.Tensor:
    """Twice the numbers; of bits the others."""

    def element(*at: tirx.Var) -> tirx.Expr:
        return tirx.Not(data(*at)) if data.dtype == "bool" else data(*at) + data(*at)

    return te.compute(data.shape, element, f"{data.dtype}_doubled")


@pytest.mark.parametrize("channels", CHANNELS)
def test_moves_to_misaligned_places(channels: int) -> None:
    """A slice, transpositions, a flip and a flattening, whose neighbours lie apart, or together at any place."""
    x = np.random.default_rng(0).integers(0, 99, (6, 11, channels)).astype(np.int8)
    data = placeholder(x.shape, "int8")
    moves = [
        ((6, 8, channels), lambda n, i, c: data(n, i + 3, c), x[:, 3:]),
        ((11, 6, channels), lambda i, n, c: data(n, i, c), x.transpose(1, 0, 2)),
        ((channels, 11, 6), lambda c, i, n: data(n, i, c), x.transpose(2, 1, 0)),
        ((6, 11, channels), lambda n, i, c: data(n, i, channels - 1 - c), x[:, :, ::-1]),
        (
            (66 * channels,),
            lambda i: data(i // (11 * channels), i // channels % 11, i % channels),
            x.reshape(-1),
        ),
    ]
    results = [te.compute(shape, at, f"moved{number}") for number, (shape, at, _) in enumerate(moves)]
    for result, (_, _, expected) in zip(run(te.create_prim_func([data, *results]), x), moves, strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("channels", [5, 16, 31])
def test_a_window_with_padding(channels: int) -> None:
    """Maxima of 3 x 3, with the padding's number outside: no thread reads there."""
    x = np.random.default_rng(5).integers(-99, 99, (1, 6, 5, channels)).astype(np.int8)
    data = placeholder(x.shape, "int8")

    def padded_at(n: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var) -> tirx.Expr:
        is_inside = tirx.all(i >= 1, i < 7, j >= 1, j < 6)
        return tirx.if_then_else(is_inside, data(n, i - 1, j - 1, c), tirx.const(-128, "int8"))

    padded = te.compute((1, 8, 7, channels), padded_at, "padded")
    a, b = te.reduce_axis((0, 3), "a"), te.reduce_axis((0, 3), "b")
    pooled = te.compute(x.shape, lambda n, i, j, c: te.max(padded(n, i + a, j + b, c), axis=[a, b]), "pooled")
    func = te.create_prim_func([data, pooled])
    assert len(launches(cuda_kernel(func, ROW))) == 1
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-128)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (1, 2))
    np.testing.assert_array_equal(run(func, x), windows.max((-1, -2)))


def test_a_sum_that_several_elements_read_has_a_kernel_of_its_own() -> None:
    x = np.random.default_rng(6).integers(-9, 9, (5, 9)).astype(np.int64)
    data = placeholder(x.shape, "int64")
    k = te.reduce_axis((0, 5), "k")
    total = te.compute((9,), lambda j: te.sum(data(k, j), axis=k), "total")
    func = te.create_prim_func([data, te.compute(x.shape, lambda i, j: data(i, j) * total(j), "result")])
    assert len(launches(cuda_kernel(func, ROW))) == 2
    np.testing.assert_array_equal(run(func, x), x * x.sum(0))


def test_numbers_of_64_bits_stay_whole() -> None:
    x = np.array([2**40, -(2**40), 2**31, -1], np.int64)
    data = placeholder(x.shape, "int64")
    func = te.create_prim_func(
        [data, te.compute(x.shape, lambda i: data(i) * tirx.const(3, "int64") + i, "y")]
    )
    np.testing.assert_array_equal(run(func, x), x * 3 + np.arange(4))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5)], ids=str)
def test_what_has_no_elements_is_not_launched(shape: tuple[int, ...]) -> None:
    data = placeholder(shape)
    func = te.create_prim_func([data, te.compute(shape, lambda *at: -data(*at), "y")])
    assert not launches(cuda_kernel(func, ROW))
    assert run(func, np.zeros(shape, np.float32)).shape == shape


def test_a_sum_of_nothing_is_its_start() -> None:
    data = placeholder((3, 0))
    k = te.reduce_axis((0, 0), "k")
    func = te.create_prim_func([data, te.compute((3,), lambda i: te.sum(data(i, k), axis=k), "y")])
    np.testing.assert_array_equal(run(func, np.zeros((3, 0), np.float32)), [0, 0, 0])


def test_a_scalar() -> None:
    data = placeholder((), "float32")
    func = te.create_prim_func([data, te.compute((), lambda: data() * 2.0, "y")])
    assert run(func, np.float32(3).reshape(())) == 6


def test_a_batch_lies_along_x() -> None:
    """A launch has at most 65535 blocks along the others."""
    count = 65536
    x, y = placeholder((count, 2, 2), name="x"), placeholder((count, 2, 2), name="y")
    k = te.reduce_axis((0, 2), "k")
    product = te.compute(
        (count, 2, 2),
        lambda n, i, j: te.sum(x(n, i, k) * y(n, k, j), axis=k),
        "product",
        attrs={KERNEL: "contraction"},
    )
    (launch,) = launches(cuda_kernel(te.create_prim_func([x, y, product]), ROW))
    assert launch["blockIdx.x"] >= count and launch.get("blockIdx.y", 1) == launch.get("blockIdx.z", 1) == 1


def test_the_first_part_of_a_concatenation_is_a_part() -> None:
    """It is written at its own axes, as whole results are, but into a longer buffer."""
    parts = [np.arange(6, dtype=np.uint8).reshape(3, 2), np.arange(12, dtype=np.uint8).reshape(3, 4) + 50]
    found = run(concat((3,), (2, 4), "uint8"), *parts)
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=1))
