"""Functions of numbers: which of them kernels call, and what they give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tvmq.schedules.cuda.functions import FAST, FUNCTIONS, cuda_functions

from .te_kernels import placeholder, run

pytestmark = pytest.mark.usefixtures("gpu_compiler")


def function(name: str, dtype: str) -> tirx.PrimFunc:
    x = placeholder((40,), dtype)
    arguments = 2 if name in ("atan2", "copysign", "fmod", "hypot", "pow") else 1
    of = getattr(tirx, name)
    return te.create_prim_func([x, te.compute(x.shape, lambda i: of(*[x(i)] * arguments), "y")])


@pytest.mark.parametrize("name", FAST)
def test_floats_have_the_exact_functions(name: str) -> None:
    text = str(cuda_functions(_module(function(name, "float32")))["main"])
    assert f'"{name}f"' in text and f"T.{name}(" not in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_halves_are_computed_as_floats(name: str) -> None:
    text = str(cuda_functions(_module(function(name, "float16")))["main"])
    assert 'T.Cast("float16"' in text and 'T.Cast("float32", data' in text


@pytest.mark.parametrize(
    "name", ["exp", "log", "sqrt", "tanh", "sin", "cosh", "round", "floor", "erf", "atan"]
)
def test_halves_are_rounded_once(name: str) -> None:
    x = np.linspace(0.1, 4, 40).astype(np.float16)
    wide = x.astype(np.float32)
    of = (
        np.vectorize(math.erf)
        if name == "erf"
        else {"round": np.rint, "atan": np.arctan}.get(name) or getattr(np, name)
    )
    expected = of(wide).astype(np.float16)
    # A float that lies between two halves may be rounded to either, as its last bit is.
    np.testing.assert_array_max_ulp(run(function(name, "float16"), x), expected, 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_popcount(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, 40, endpoint=True).astype(dtype)
    expected = [int(number).bit_count() for number in x]
    np.testing.assert_array_equal(run(function("popcount", dtype), x), expected)


def _module(func: tirx.PrimFunc):
    return tvm.IRModule({"main": func})
