"""Gradients of convolutions and products, of small integers: float32 has all sums exactly, in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.passes.train.kernels.convolution import data_gradient, weight_gradient
from tvmq.schedules import pipeline
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target
from tvmq.targets.rows import PORTABLE

AVX512 = row_of(parse_target("llvm -mcpu=skylake-avx512"))
"""LLVM makes two vectors of each of its own where registers are shorter."""
GRADIENTS = {"data": data_gradient, "weight": weight_gradient}


@dataclass(frozen=True)
class Case:
    data: tuple[int, ...]
    weight: tuple[int, ...]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def call(self, data, weight):
        return relax.op.nn.conv2d(
            *(data, weight, self.strides, self.padding, self.dilation, self.groups),
            data_layout="NHWC",
            kernel_layout="OIHW",
        )

    def operands(self):
        """Return data, weights and the gradient by the result."""
        data, weight = integers(*self.data), integers(*self.weight)
        call = relax.BlockBuilder().normalize(self.call(relax.const(data), relax.const(weight)))
        return data, weight, integers(*map(int, call.ty.shape))

    def windows(self, padded, out_h, out_w):
        """Yield each tap and what it sees."""
        (down, across), (spread_h, spread_w) = self.strides, self.dilation
        for i, j in np.ndindex(*self.weight[2:]):
            top, left = i * spread_h, j * spread_w
            yield (
                (i, j),
                padded[
                    :,
                    top : top + (out_h - 1) * down + 1 : down,
                    left : left + (out_w - 1) * across + 1 : across,
                ],
            )

    def of_groups(self):
        """Yield the channels of the result and of the data of each group."""
        outer, inner = self.weight[0] // self.groups, self.weight[1]
        for group in range(self.groups):
            yield slice(group * outer, (group + 1) * outer), slice(group * inner, (group + 1) * inner)

    def gradients(self, data, weight, gradient):
        top, left, bottom, right = self.padding
        padded = np.pad(data, ((0, 0), (top, bottom), (left, right), (0, 0)))
        of_padded, of_weight = np.zeros_like(padded), np.zeros_like(weight)
        windows = self.windows(padded, *gradient.shape[1:3])
        for (tap, seen), (_, target) in zip(
            windows, self.windows(of_padded, *gradient.shape[1:3]), strict=True
        ):
            for out, own in self.of_groups():
                target[..., own] += gradient[..., out] @ weight[(out, slice(None), *tap)]
                of_weight[(out, slice(None), *tap)] = np.einsum(
                    "nhwo,nhwi->oi", gradient[..., out], seen[..., own]
                )
        _, height, width, _ = data.shape
        return {"data": of_padded[:, top : top + height, left : left + width], "weight": of_weight}


CASES = {
    "1x1": Case((2, 9, 9, 7), (10, 7, 1, 1)),
    "1x1, whole vectors": Case((2, 5, 6, 32), (16, 32, 1, 1)),
    "1x1, stride 2": Case((2, 10, 9, 24), (16, 24, 1, 1), strides=(2, 2)),
    "1x1, padded": Case((2, 7, 7, 9), (33, 9, 1, 1), padding=(1, 1, 1, 1)),
    "3x3": Case((2, 9, 8, 8), (16, 8, 3, 3), padding=(1, 1, 1, 1)),
    "3x3, stride 2": Case((2, 9, 8, 8), (16, 8, 3, 3), strides=(2, 2), padding=(1, 1, 1, 1)),
    "3x3, image": Case((2, 12, 12, 3), (32, 3, 3, 3), strides=(2, 2), padding=(0, 0, 1, 1)),
    "dilated": Case((2, 9, 9, 5), (12, 5, 3, 3), padding=(2, 2, 2, 2), dilation=(2, 2)),
    "more padding than filter": Case((1, 5, 5, 4), (4, 4, 2, 2), padding=(3, 2, 2, 3)),
    "stride above the filter": Case((1, 12, 11, 8), (8, 8, 2, 2), strides=(3, 4)),
    "uneven": Case((1, 13, 11, 4), (6, 4, 4, 3), (3, 2), (2, 1, 0, 1), (2, 3)),
    "groups": Case((2, 9, 9, 6), (8, 3, 3, 3), strides=(2, 2), padding=(1, 1, 1, 1), groups=2),
    "channel multiplier": Case((2, 8, 8, 3), (6, 1, 3, 3), padding=(1, 1, 1, 1), groups=3),
    "depthwise": Case((2, 11, 9, 16), (16, 1, 3, 3), padding=(1, 1, 1, 1), groups=16),
    "depthwise, stride 2": Case((2, 9, 10, 20), (20, 1, 3, 3), (2, 2), (1, 1, 1, 1), groups=20),
    "depthwise, 5x5, stride 2": Case((1, 14, 14, 24), (24, 1, 5, 5), (2, 2), (2, 2, 2, 2), groups=24),
    "many places": Case((3, 30, 30, 20), (33, 20, 1, 1)),
    "many channels": Case((2, 9, 9, 150), (330, 150, 1, 1)),
    "many channels, 3x3": Case((1, 9, 9, 200), (40, 200, 3, 3), padding=(1, 1, 1, 1)),
    "many images' rows": Case((2, 40, 41, 6), (14, 6, 3, 3), padding=(1, 1, 1, 1)),
    "one channel": Case((2, 8, 8, 1), (5, 1, 3, 3)),
    "one filter": Case((2, 9, 9, 4), (1, 4, 3, 3)),
    "groups of pixels": Case((1, 9, 9, 64), (64, 8, 1, 1), groups=8),
    "depthwise, many rows": Case((2, 60, 40, 37), (37, 1, 3, 3), padding=(1, 1, 1, 1), groups=37),
    "depthwise, 5x5": Case((1, 9, 9, 24), (24, 1, 5, 5), padding=(2, 2, 2, 2), groups=24),
    "depthwise, dilated": Case((1, 9, 9, 5), (5, 1, 3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 5),
}


def integers(*shape):
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(np.float32)


def run(emit, arrays, cores=2, row=None):
    """Compile what ``emit`` returns of a builder and parameters, and run it; return its kernels' names too."""
    params = [
        relax.Var(f"p{place}", relax.TensorType(array.shape, "float32")) for place, array in enumerate(arrays)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            out = builder.emit_output(builder.normalize(emit(builder, *params)))
        builder.emit_func_output(out)
    target = parse_target(f"llvm -mcpu=x86-64-v3 -num-cores={cores}")
    built = pipeline.build(builder.get(), target, row_of(target) if row is None else row)
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]
    return main(*map(tvm.runtime.tensor, arrays)).numpy(), [name for name, _ in built.kernels]


@pytest.mark.parametrize("kind", GRADIENTS)
@pytest.mark.parametrize("name", CASES)
def test_convolution(name, kind):
    case = CASES[name]
    data, weight, gradient = case.operands()

    def emit(builder, x, w, dy):
        return GRADIENTS[kind](builder, case.call(x, w), x, w, dy)

    result, _ = run(emit, [data, weight, gradient])
    np.testing.assert_array_equal(result, case.gradients(data, weight, gradient)[kind])


@pytest.mark.parametrize("kind", GRADIENTS)
@pytest.mark.parametrize("name", ["1x1", "3x3, stride 2", "groups", "many channels", "depthwise, stride 2"])
@pytest.mark.parametrize(
    ("cores", "row"),
    [(1, None), (3, None), (16, None), (2, PORTABLE), (2, AVX512)],
    ids=["1", "3", "16", "portable", "512 bits"],
)
def test_threads_and_vectors_of_any_length(cores, row, name, kind):
    case = CASES[name]
    data, weight, gradient = case.operands()

    def emit(builder, x, w, dy):
        return GRADIENTS[kind](builder, case.call(x, w), x, w, dy)

    result, _ = run(emit, [data, weight, gradient], cores, row)
    np.testing.assert_array_equal(result, case.gradients(data, weight, gradient)[kind])


@pytest.mark.parametrize("kind", GRADIENTS)
@pytest.mark.parametrize(
    ("lead", "inner", "columns"),
    [((5,), 7, 10), ((2, 3), 9, 20), ((40,), 64, 10), ((2, 50), 33, 64)],
    ids=str,
)
def test_product(lead, inner, columns, kind):
    data, weight, gradient = integers(*lead, inner), integers(inner, columns), integers(*lead, columns)

    def emit(builder, x, w, dy):
        return GRADIENTS[kind](builder, relax.op.matmul(x, w), x, w, dy)

    result, _ = run(emit, [data, weight, gradient])
    expected = {
        "data": gradient @ weight.T,
        "weight": data.reshape(-1, inner).T @ gradient.reshape(-1, columns),
    }
    np.testing.assert_array_equal(result, expected[kind])


def test_sums_of_several_threads_are_the_same_bits_each_time():
    rng = np.random.default_rng(0)
    data, gradient = (rng.standard_normal((1500, width)).astype(np.float32) for width in (40, 24))
    weight = np.zeros((40, 24), np.float32)

    def emit(builder, x, w, dy):
        return weight_gradient(builder, relax.op.matmul(x, w), x, w, dy)

    first, _ = run(emit, [data, weight, gradient])
    # 1500 products of two parts and their sum round once each.
    bound = 1502 * 2.0**-24 * np.abs(data.T) @ np.abs(gradient)
    assert (np.abs(first - data.astype(np.float64).T @ gradient) <= bound).all()
    for _ in range(3):
        np.testing.assert_array_equal(run(emit, [data, weight, gradient])[0], first)


@pytest.mark.parametrize("name", ["1x1", "3x3", "3x3, stride 2", "depthwise", "depthwise, stride 2"])
def test_a_mask_behind_the_gradient_by_the_data_is_a_part_of_its_last_kernel(name):
    case = CASES[name]
    data, weight, gradient = case.operands()

    def emit(builder, x, w, dy):
        found = builder.emit(data_gradient(builder, case.call(x, w), x, w, dy))
        zero = relax.const(np.float32(0))
        return relax.op.where(builder.emit(relax.op.greater(x, zero)), found, zero)

    result, kernels = run(emit, [data, weight, gradient])
    expected = case.gradients(data, weight, gradient)["data"]
    np.testing.assert_array_equal(result, np.where(data > 0, expected, 0))
    assert not [name for name in kernels if name.startswith(("where", "greater"))]
