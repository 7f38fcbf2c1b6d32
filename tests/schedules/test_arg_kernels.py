"""Argmax and argmin on a GPU: the first or last of equal numbers, of any dtype, axis and length."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.differential.check import run
from tvmq.schedules.arg_kernels import WIDE

TARGET = "cuda -arch=sm_80"

pytestmark = pytest.mark.usefixtures("gpu_compiler")


def arg(name: str, x: np.ndarray, axis: int | None, keepdims: bool = False) -> np.ndarray:
    data = relax.Var("x", relax.TensorType(x.shape, str(x.dtype)))
    builder = relax.BlockBuilder()
    with builder.function("main", [data]):
        with builder.dataflow():
            result = builder.emit_output(getattr(relax.op, name)(data, axis, keepdims))
        builder.emit_func_output(result)
    return run(builder.get(), TARGET, {"x": x})[0]


@pytest.mark.parametrize("dtype", [*WIDE, "int64", "float64"])
@pytest.mark.parametrize(("name", "of"), [("argmax", np.argmax), ("argmin", np.argmin)])
def test_the_first_of_equal_numbers(name: str, of, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, (3, 40)).astype(dtype)
    result = arg(name, x, 1)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, of(x, 1))


@pytest.mark.parametrize("axis", [0, 1, 2, None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes(axis: int | None, keepdims: bool) -> None:
    x = np.random.default_rng(1).normal(size=(4, 33, 17)).astype(np.float32)
    np.testing.assert_array_equal(arg("argmax", x, axis, keepdims), np.argmax(x, axis, keepdims=keepdims))


@pytest.mark.parametrize("length", [1, 2, 1000, 1025, 3001])
def test_lengths(length: int) -> None:
    x = np.random.default_rng(2).permutation(2 * length).reshape(2, length).astype(np.float32)
    np.testing.assert_array_equal(arg("argmin", x, -1), np.argmin(x, -1))


def test_infinities_and_nan() -> None:
    x = np.full((3, 40), -np.inf, np.float32)
    x[1] = np.nan
    x[2, 5] = np.nan
    result = arg("argmax", x, 1)
    assert result[0] == 0 and ((result >= 0) & (result < 40)).all()
