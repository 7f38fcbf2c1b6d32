"""Elementwise functions, transposes and reductions equal NumPy around the ends of vectors and groups."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.schedules import pipeline
from tvmq.targets.rows import PORTABLE as ROW

TARGET = tvm.target.Target({"kind": "llvm"})


def integers(shape, dtype="float32"):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def build(make, *arrays):
    """Compile ``make(builder, *variables)`` to a function of one kernel; return the kernel, and the result."""
    names = [
        relax.Var(f"x{index}", relax.TensorType(array.shape, str(array.dtype)))
        for index, array in enumerate(arrays)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", names):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(make(builder, *names)))
        builder.emit_func_output(out)
    built = pipeline.build(builder.get(), TARGET, ROW)
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]
    (kernel,) = [func for func in built.mod.functions.values() if isinstance(func, tvm.tirx.PrimFunc)]
    return kernel.script(), main(*map(tvm.runtime.tensor, arrays)).numpy()


TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@pytest.mark.parametrize(
    ("shape", "axes", "strip"),
    [
        ((1, 3, 5, 40), TO_NHWC, False),  # few channels: side by side in the result
        ((2, 5, 40, 4), TO_NCHW, False),  # and in the input
        ((1, 1280, 7, 7), TO_NHWC, True),
        ((1, 7, 7, 1280), TO_NCHW, True),
        ((1, 48, 31, 33), TO_NHWC, True),
        ((2, 9, 33, 24), TO_NCHW, True),
        ((1, 24, 17, 24), TO_NHWC, True),  # groups of 8
        ((1, 35, 2, 40), TO_NHWC, True),  # of 7
        ((1, 37, 2, 40), TO_NHWC, False),  # none, as 37 is prime
        ((1, 3, 4, 5), TO_NHWC, False),  # too small
        ((50, 36), (1, 0), True),
        ((500, 3), (1, 0), False),
        ((2, 6, 12, 64), (0, 2, 1, 3), False),  # the last axis stays the last
        ((20, 3, 18), (2, 1, 0), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_transpose(shape, axes, strip, dtype):
    data = integers(shape, dtype)
    text, result = build(lambda _, x: relax.op.permute_dims(x, list(axes)), data)
    np.testing.assert_array_equal(result, data.transpose(axes))
    assert ("_local" in text) == strip


@pytest.mark.parametrize("shape", [(1, 3, 6, 40), (1, 24, 5, 24)], ids=str)
def test_transpose_fused_with_what_varies_along_channels(shape):
    data, mean = integers(shape), integers((1, 1, 1, shape[1]))

    def make(builder, x, y):
        return relax.op.subtract(builder.emit(relax.op.permute_dims(x, list(TO_NHWC))), y)

    _, result = build(make, data, mean)
    np.testing.assert_array_equal(result, data.transpose(TO_NHWC) - mean)


def test_quantize_fused_with_a_transpose_to_few_channels():
    data = integers((1, 3, 9, 33)) / np.float32(4)

    def make(builder, x):
        y = builder.emit(relax.op.permute_dims(x, list(TO_NHWC)))
        parameters = relax.const(np.float32(0.5)), relax.const(np.uint8(10))
        return relax.op.quantize(y, *parameters, out_dtype="uint8")

    _, result = build(make, data)
    np.testing.assert_array_equal(result, np.clip(np.rint(data * 2) + 10, 0, 255).transpose(TO_NHWC))


@pytest.mark.parametrize("channels", [1, 7, 8, 33, 48, 64, 96])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_max_pool2d(channels, dtype):
    data = integers((1, 9, 8, channels), dtype)
    _, result = build(lambda _, x: relax.op.nn.max_pool2d(x, (3, 3), (2, 2), layout="NHWC"), data)
    windows = np.lib.stride_tricks.sliding_window_view(data, (3, 3), (1, 2))[:, ::2, ::2]
    np.testing.assert_array_equal(result, windows.max((-2, -1)))


def test_pooled_bytes_fill_their_vectors():
    """Two vectors of 16 bytes, where 32-bit numbers take two of 4."""
    pooled = {
        dtype: build(
            lambda _, x: relax.op.nn.max_pool2d(x, (2, 2), layout="NHWC"), integers((1, 4, 4, 64), dtype)
        )[0]
        for dtype in ("uint8", "float32")
    }
    assert "T.vectorized(T.int64(32))" in pooled["uint8"]
    assert "T.vectorized(T.int64(8))" in pooled["float32"]


@pytest.mark.parametrize("shape", [(3, 64), (16, 40), (2, 5, 7), (4, 4), (1, 1), (2, 3, 100)], ids=str)
@pytest.mark.parametrize("axis", [0, -1])
def test_sum_and_maximum(shape, axis):
    data = integers(shape)  # small integers: sums in any order are exact
    for call, expected in ((relax.op.sum, data.sum(axis)), (relax.op.max, data.max(axis))):
        _, result = build(lambda _, x, call=call: call(x, axis), data)
        np.testing.assert_array_equal(result, expected)


def test_sum_over_the_image():
    data = integers((2, 6, 5, 24))
    for axes in ([1, 2], [2, 3], [1, 2, 3]):
        _, result = build(lambda _, x, axes=axes: relax.op.sum(x, axes), data)
        np.testing.assert_array_equal(result, data.sum(tuple(axes)))


def test_each_lane_reduces_its_own_part_of_a_row():
    text, _ = build(lambda _, x: relax.op.prod(x, -1), integers((3, 64)))
    assert text.count("T.vectorized(T.int64(8))") == 2
    text, _ = build(lambda _, x: relax.op.prod(x, -1), integers((3, 37)))
    assert "T.vectorized" not in text


@pytest.mark.parametrize("shape", [(1, 3, 5, 37), (2, 4, 3, 5), (1, 1, 1, 40), (1, 7, 2, 1)], ids=str)
def test_a_number_a_channel_meets_every_place(shape):
    gate = integers((1, 1, 1, shape[-1]))
    _, result = build(lambda _, x, y: relax.op.multiply(x, y), integers(shape), gate)
    np.testing.assert_array_equal(result, integers(shape) * gate)


def test_a_loop_with_a_tail_keeps_its_vectors():
    """What is left of a row is a vector of its own: no condition is asked for each of its lanes."""
    lowered = []
    rows, columns = integers((4, 3, 37)), integers((1, 1, 37))

    @tvm.ir.instrument.pass_instrument
    class Lowered:
        def run_before_pass(self, mod, info):
            if info.name == "tirx.SplitHostDevice":
                lowered.append(mod.script())

    with tvm.transform.PassContext(instruments=[Lowered()]):
        build(lambda _, x, y: relax.op.multiply(x, y), rows, columns)
    assert "if " not in lowered[-1]
