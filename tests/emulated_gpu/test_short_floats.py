"""Floats of 16 bits on the emulated GPU: all of them, beside NumPy's halves, and bfloat16 by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from .direct import kernel, launch

PLACE = "((int)threadIdx.x + (int)blockIdx.x * 256)"
BITS = np.arange(1 << 16, dtype=np.uint16)
HALVES = BITS.view(np.float16)
PARTNERS = HALVES[np.random.default_rng(0).permutation(1 << 16)]

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def run(
    expression: str, types: str, arrays: list[np.ndarray], dtype: type, header: str = "cuda_fp16.h"
) -> np.ndarray:
    """Return ``expression`` of ``a`` and ``b`` at each place; ``types``: those of them and of the result."""
    *given, wanted = types.split()
    parameters = ", ".join(f"{kind}* {name}" for kind, name in zip(given, "ab", strict=False))
    code = f"#include <{header}>\n" + kernel(f"{parameters}, {wanted}* y", f"y[{PLACE}] = {expression};")
    result = np.zeros(len(arrays[0]), dtype)
    launch(code, [*arrays, result], grid=len(result) // 256, block=256)
    return result


def test_halves_as_floats():
    np.testing.assert_array_equal(
        run(f"((float)a[{PLACE}])", "half float", [HALVES], np.float32), HALVES.astype(np.float32)
    )


def test_floats_as_halves():
    """Any bits, and the numbers between two halves: to nearest, half to even."""
    above = np.nextafter(HALVES, np.float16(np.inf)).astype(np.float32)
    ties = (HALVES.astype(np.float32) + above) / 2
    any_bits = np.random.default_rng(1).integers(0, 2**32, 1 << 16).astype(np.uint32).view(np.float32)
    values = np.concatenate([ties, np.nextafter(ties, np.float32(0)), any_bits])
    np.testing.assert_array_equal(
        run(f"__float2half_rn(a[{PLACE}])", "float half", [values], np.float16), values.astype(np.float16)
    )


@pytest.mark.parametrize(
    ("operator", "of"), [("+", np.add), ("-", np.subtract), ("*", np.multiply), ("/", np.divide)]
)
def test_arithmetic(operator: str, of: np.ufunc):
    found = run(f"(a[{PLACE}] {operator} b[{PLACE}])", "half half half", [HALVES, PARTNERS], np.float16)
    np.testing.assert_array_equal(found, of(HALVES, PARTNERS))


@pytest.mark.parametrize(
    ("name", "of"),
    [("hsqrt", np.sqrt), ("hrint", np.rint), ("hfloor", np.floor), ("hceil", np.ceil), ("__habs", np.abs)],
)
def test_exact_functions(name: str, of: np.ufunc):
    np.testing.assert_array_equal(run(f"{name}(a[{PLACE}])", "half half", [HALVES], np.float16), of(HALVES))


def test_comparisons():
    for operator, of in (("<", np.less), (">=", np.greater_equal), ("==", np.equal), ("!=", np.not_equal)):
        found = run(f"(a[{PLACE}] {operator} b[{PLACE}])", "half half int", [HALVES, PARTNERS], np.int32)
        np.testing.assert_array_equal(found, of(HALVES, PARTNERS))


def test_integers_are_clipped():
    halves = np.resize(np.array([1.9, -1.9, np.nan, np.inf, -np.inf, 300, -300], np.float16), 256)
    found = run(f"((signed char)a[{PLACE}])", "half int", [halves], np.int32)
    np.testing.assert_array_equal(found[:7], [1, -1, 0, 127, -128, 127, -128])


def test_floats_as_bfloat16():
    bits = np.random.default_rng(2).integers(0, 2**32, 1 << 16).astype(np.uint32)
    bits[: 1 << 15] = (bits[: 1 << 15] & 0xFFFF0000) | 0x8000  # between two of them
    found = run(
        f"((nv_bfloat16)a[{PLACE}])", "float nv_bfloat16", [bits.view(np.float32)], np.uint16, "cuda_bf16.h"
    )
    nearest = ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    is_nan = np.isnan(bits.view(np.float32))
    np.testing.assert_array_equal(found, np.where(is_nan, 0x7FFF, nearest))


def test_bfloat16_as_floats():
    found = run(f"((float)a[{PLACE}])", "nv_bfloat16 float", [BITS], np.float32, "cuda_bf16.h")
    np.testing.assert_array_equal(found, (BITS.astype(np.uint32) << 16).view(np.float32))


def test_constants():
    body = "y[0] = CUDART_INF_F; y[1] = -CUDART_INF_F; y[2] = CUDART_NAN_F; y[3] = (float)CUDART_INF;"
    result = np.zeros(4, np.float32)
    launch("#include <math_constants.h>\n" + kernel("float* y", body), [result], block=1)
    np.testing.assert_array_equal(result, [np.inf, -np.inf, np.nan, np.inf])
