"""Legalizations of our own: what they change of Relax's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.schedules import pipeline
from tvmq.targets.rows import PORTABLE as ROW

TARGET = tvm.target.Target({"kind": "llvm"})


def build(call, *params):
    builder = relax.BlockBuilder()
    with builder.function("main", list(params)):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(call))
        builder.emit_func_output(out)
    return pipeline.build(builder.get(), TARGET, ROW)


def run(call, *inputs):
    """Compile a call of parameters and run it; ``inputs`` are (variable, array)."""
    built = build(call, *(var for var, _ in inputs))
    machine = relax.VirtualMachine(built.executable, tvm.cpu())
    return machine["main"](*(tvm.runtime.tensor(array) for _, array in inputs)).numpy()


def var(name, array):
    return relax.Var(name, relax.TensorType(array.shape, str(array.dtype)))


def test_an_index_out_of_range_reads_the_nearest_element(capfd):
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    indices = np.array([0, 3, 7, -2, 1 << 40], np.int64)
    x, i = var("x", table), var("i", indices)
    result = run(relax.op.take(x, i, axis=0), (x, table), (i, indices))
    np.testing.assert_array_equal(result, table[[0, 3, 3, 0, 3]])
    assert "segfault" not in capfd.readouterr().err


def test_quantize_rounds_half_to_even():
    data = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9], np.float32)
    x = var("x", data)
    call = relax.op.quantize(x, relax.const(np.float32(1)), relax.const(np.int8(3)), out_dtype="int8")
    np.testing.assert_array_equal(run(call, (x, data)), [3, 5, 5, 3, 1, 127, -128])


def test_a_matrix_that_varies_is_packed_while_the_model_runs():
    rng = np.random.default_rng(0)
    left, right = (
        rng.standard_normal((5, 7)).astype(np.float32),
        rng.standard_normal((7, 3)).astype(np.float32),
    )
    x, y = var("x", left), var("y", right)
    result = run(relax.op.matmul(x, y), (x, left), (y, right))
    np.testing.assert_allclose(result, left @ right, atol=7 * 2.0**-24 * 20)
    assert [name for name, _ in build(relax.op.matmul(x, y), x, y).kernels] == [
        "pack_weights",
        "matmul_5x7_3ch",
    ]


def test_constants_of_a_batch_are_multiplied_like_activations():
    """Of Relax's own loops a product of matrices takes some ten times as long."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 5, 7), (3, 7, 9)))
    x = var("x", left)
    call = relax.op.matmul(x, relax.const(right))
    np.testing.assert_allclose(run(call, (x, left)), left @ right, atol=7 * 2.0**-24 * 20)
    assert [name for name, _ in build(call, x).kernels] == ["matmul_3x5x7_9ch"]


_erf = np.vectorize(math.erf)


@pytest.mark.parametrize(
    ("operator", "exact"),
    [
        (relax.op.erf, _erf),
        (relax.op.tanh, np.tanh),
        (relax.op.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (relax.op.nn.silu, lambda x: x / (1 + np.exp(-x))),
        (relax.op.nn.gelu, lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2),
        (
            relax.op.nn.gelu_tanh,
            lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_function_is_as_good_as_float32(operator, exact):
    data = np.concatenate([np.linspace(-12, 12, 8001), np.linspace(-300, 300, 601)]).astype(np.float32)
    x = var("x", data)
    expected = exact(data.astype(np.float64))
    error = np.abs(run(operator(x), (x, data)) - expected)
    assert (error / np.maximum(np.abs(expected), 1)).max() < 1e-6


def test_a_function_of_other_floats_is_left_to_relax():
    data = np.linspace(-3, 3, 101).astype(np.float64)
    x = var("x", data)
    np.testing.assert_allclose(run(relax.op.tanh(x), (x, data)), np.tanh(data), rtol=1e-14)


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_is_as_good_as_float32(axis):
    data = np.random.default_rng(0).uniform(-90, 90, (3, 17, 5)).astype(np.float32)
    data[0, 0, 0] = -np.inf
    x = var("x", data)
    powers = np.exp(data.astype(np.float64) - data.max(axis=axis, keepdims=True))
    exact = powers / powers.sum(axis=axis, keepdims=True)
    # 3e-7 of the exponential and of the sum, and half a unit in the last place of a difference of up to 180.
    tolerance = 6e-7 + 180 * 2.0**-24
    np.testing.assert_allclose(
        run(relax.op.nn.softmax(x, axis), (x, data)), exact, rtol=tolerance, atol=1e-37
    )


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(1, 5, 4, 64), (1, 5, 4, 64)], 3),
        ([(1, 3, 4, 7), (1, 3, 4, 16), (1, 3, 4, 33)], -1),
        ([(2, 3, 5), (2, 1, 5)], 1),
        ([(4,), (1,)], 0),
        ([(2, 3)], 0),
        ([(2, 0), (2, 3)], 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_concat(shapes, axis, dtype):
    parts = [np.random.default_rng(0).integers(0, 256, shape).astype(dtype) for shape in shapes]
    names = [var(f"x{index}", part) for index, part in enumerate(parts)]
    result = run(relax.op.concat(names, axis), *zip(names, parts, strict=True))
    np.testing.assert_array_equal(result, np.concatenate(parts, axis))


def test_concat_copies_each_part_by_a_loop_without_conditions():
    x, y = (relax.Var(name, relax.TensorType((1, 5, 4, 64), "uint8")) for name in "xy")
    builder = relax.BlockBuilder()
    with builder.function("main", [x, y]):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(relax.op.concat([x, y], 3)))
        builder.emit_func_output(out)
    (func,) = [
        func
        for func in pipeline.build(builder.get(), TARGET, ROW).mod.functions.values()
        if isinstance(func, tvm.tirx.PrimFunc)
    ]
    text = func.script()
    assert "if_then_else" not in text
    assert text.count("T.vectorized") == 2


@pytest.mark.parametrize(
    ("data_shape", "weight_shape", "strides", "padding", "groups", "kernel"),
    [
        ((2, 5, 6, 7), (10, 7, 1, 1), 1, 0, 1, "conv2d_1x1_2x5x6x7_10ch"),
        ((2, 9, 8, 8), (16, 8, 3, 3), 1, 1, 1, "conv2d_3x3_2x9x8x8_16ch"),
        ((2, 9, 9, 6), (8, 3, 3, 3), 2, 1, 2, "conv2d_3x3_2x9x9x6_8ch"),
        ((1, 9, 9, 20), (20, 1, 3, 3), 2, 1, 20, "depthwise_conv2d_3x3_1x9x9x20_20ch"),
    ],
)
def test_weights_that_vary_are_packed_for_the_kernels_of_constants(
    data_shape, weight_shape, strides, padding, groups, kernel
):
    rng = np.random.default_rng(0)
    data, weight = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (data_shape, weight_shape))
    x, w = var("x", data), var("w", weight)

    def conv(weight):
        return relax.op.nn.conv2d(
            *(x, weight, strides, padding, 1, groups), data_layout="NHWC", kernel_layout="OIHW"
        )

    varying = run(conv(w), (x, data), (w, weight))
    np.testing.assert_array_equal(varying, run(conv(relax.const(weight)), (x, data)))
    assert [name for name, _ in build(conv(w), x, w).kernels][:2] == ["pack_weights", kernel]
    # Arithmetic of weights is a part of their packing.
    doubled = relax.op.multiply(w, relax.const(np.float32(2)))
    kernels = [name for name, _ in build(conv(doubled), x, w).kernels]
    assert len(kernels) == len([name for name, _ in build(conv(w), x, w).kernels])


def test_a_matrix_that_varies_takes_rows_of_the_whole_batch():
    rng = np.random.default_rng(0)
    left, right = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 5, 7), (7, 9)))
    x, y = var("x", left), var("y", right)
    call = relax.op.matmul(x, y)
    np.testing.assert_array_equal(run(call, (x, left), (y, right)), left @ right)
    assert [name for name, _ in build(call, x, y).kernels] == ["pack_weights", "matmul_2x5x7_9ch"]
