"""Normalizations of rows: whole and part vectors, rows of several axes, large means, and what stands behind."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.schedules import pipeline
from tvmq.targets.rows import PORTABLE as ROW

TARGET = tvm.target.Target({"kind": "llvm"})
EPSILON = 1e-5

ROUNDING = 2.0**-24
"""Half a unit in the last place of float32, relative."""


def build(result, *inputs: relax.Var) -> pipeline.Built:
    builder = relax.BlockBuilder()
    with builder.function("main", list(inputs)):
        with builder.dataflow():
            out = builder.emit_output(builder.normalize(result))
        builder.emit_func_output(out)
    return pipeline.build(builder.get(), TARGET, ROW)


def run(built: pipeline.Built, *arrays: np.ndarray) -> np.ndarray:
    machine = relax.VirtualMachine(built.executable, tvm.cpu())
    return machine["main"](*map(tvm.runtime.tensor, arrays)).numpy()


def var(name: str, array: np.ndarray) -> relax.Var:
    return relax.Var(name, relax.TensorType(array.shape, str(array.dtype)))


def floats(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 1, shape).astype(np.float32)


def exact(x: np.ndarray, axes: tuple[int, ...], is_centred: bool) -> np.ndarray:
    wide = x.astype(np.float64)
    if is_centred:
        wide = wide - wide.mean(axes, keepdims=True)
    return wide / np.sqrt((wide**2).mean(axes, keepdims=True) + EPSILON)


SHAPES = [
    *(((2, 3, length), 1) for length in (1, 7, 8, 9, 31, 32, 33, 64, 100)),
    ((300,), 1),
    ((2, 3, 5, 7), 2),
    ((1, 4, 8, 8), 3),
]


@pytest.mark.parametrize(("shape", "count"), SHAPES, ids=str)
@pytest.mark.parametrize("is_centred", [True, False], ids=["layer_norm", "rms_norm"])
def test_rows(shape: tuple[int, ...], count: int, is_centred: bool) -> None:
    axes = tuple(range(-count, 0))
    x, gamma, beta = floats(shape), floats(shape[-count:], 1), floats(shape[-count:], 2)
    data, scale, shift = var("x", x), relax.const(gamma), relax.const(beta)
    if is_centred:
        call = relax.op.nn.layer_norm(data, scale, shift, axes, EPSILON)
        expected = exact(x, axes, True) * gamma + beta
    else:
        call = relax.op.nn.rms_norm(data, scale, axes, EPSILON)
        expected = exact(x, axes, False) * gamma
    # Numbers below 5 less a mean of about 0.5, times a factor of about 1 and a weight below 4: some ten roundings each.
    np.testing.assert_allclose(run(build(call, data), x), expected, atol=10 * 20 * ROUNDING)


def test_a_large_mean_costs_no_more_digits_than_the_numbers_have() -> None:
    x = floats((4, 384)) + np.float32(1000)
    data, one, zero = var("x", x), relax.const(np.ones(384, "float32")), relax.const(np.zeros(384, "float32"))
    result = run(build(relax.op.nn.layer_norm(data, one, zero, [-1], EPSILON), data), x)
    # The mean is off by a few roundings of 1000; squares less the squared mean would be off by roundings of a million.
    np.testing.assert_allclose(result, exact(x, (-1,), True), atol=8 * 1000 * ROUNDING)


@pytest.mark.parametrize(
    ("groups", "spatial"), [(2, (5, 7)), (6, (8, 4)), (1, (9,)), (3, (2, 3, 4))], ids=str
)
def test_groups(groups: int, spatial: tuple[int, ...]) -> None:
    x, gamma, beta = floats((2, 6, *spatial)), floats((6,), 1), floats((6,), 2)
    data = var("x", x)
    axes = list(range(2, x.ndim))
    call = relax.op.nn.group_norm(data, relax.const(gamma), relax.const(beta), groups, 1, axes, EPSILON)
    rows = exact(x.reshape(2, groups, -1), (-1,), True).reshape(x.shape)
    channels = (6, *(1 for _ in spatial))
    expected = rows * gamma.reshape(channels) + beta.reshape(channels)
    np.testing.assert_allclose(run(build(call, data), x), expected, atol=10 * 20 * ROUNDING)


def test_what_stands_behind_is_in_the_same_kernel() -> None:
    x, weight = floats((8, 64)), relax.const(np.ones(64, "float32"))
    data = var("x", x)
    norm = relax.BlockBuilder().normalize(relax.op.nn.layer_norm(data, weight, weight, [-1], EPSILON))
    scale, zero = relax.const(np.float32(0.05)), relax.const(np.int8(3))
    built = build(relax.op.quantize(norm, scale, zero, out_dtype="int8"), data)
    assert [name for name, _ in built.kernels] == ["fused_layer_norm_quantize"]
    steps = (exact(x, (-1,), True) + 1) / 0.05 + 3
    assert np.abs(run(built, x) - np.clip(steps, -128, 127)).max() <= 0.5 + 1e-3


def test_other_axes_are_left_to_relax() -> None:
    x = floats((6, 40))
    data, ones, zeros = var("x", x), np.ones(6, "float32"), np.zeros(6, "float32")
    built = build(relax.op.nn.layer_norm(data, relax.const(ones), relax.const(zeros), [0], EPSILON), data)
    np.testing.assert_allclose(run(built, x), exact(x, (0,), True), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_normalized_in_float32(dtype: str) -> None:
    x = floats((6, 40)).astype(dtype)
    data, ones = var("x", x), relax.const(np.ones(40, dtype), dtype)
    result = run(build(relax.op.nn.rms_norm(data, ones, [-1], EPSILON), data), x)
    assert result.dtype == dtype
    # The result is below 4, and float16 has 11 bits.
    np.testing.assert_allclose(result, exact(x, (-1,), False), atol=4 * max(np.finfo(dtype).eps, 1e-6))
