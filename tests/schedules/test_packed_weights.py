"""Compressed weights on GPUs: which stay packed, that nothing makes floats of them, and the numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tvm import relax

import tvmq
from tests.gpu import gpu, is_real
from tests.passes.modules import const, module
from tvmq import api
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.graph import is_constant, to_numpy
from tvmq.passes.weight_only.restore import RestoreWeights
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.pipeline import to_kernels
from tvmq.schedules.stored_weights import LOADER
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

TARGET = "cuda -arch=sm_80"


def net():
    """A convolution of 3 x 3, one of a pixel with a stride, and matrix products of few rows, one by shared weights."""

    def body(b, x):
        shared = const(64, 64, seed=4)
        first = b.add(relax.op.nn.conv2d(x, const(36, 4, 3, 3), padding=1), "first", "Conv")
        second = b.add(relax.op.nn.conv2d(first, const(16, 36, 1, 1), strides=2), "second", "Conv")
        flat = b.add(relax.op.reshape(second, (4, 64)), "flat", "Reshape")
        third = b.add(relax.op.matmul(flat, shared), "third", "MatMul")
        relu = b.add(relax.op.nn.relu(third), "relu", "Relu")
        return b.add(relax.op.matmul(relu, shared), "fourth", "MatMul")

    return module({"x": (1, 4, 7, 7)}, body)


def kernels(options):
    quantized = api.quantize(net(), "weight-only", options=QuantizeOptions(**options))
    target = parse_target(TARGET)
    return to_kernels(tvmq.passes.Layout()(quantized.mod), target, row_of(target))


def constants(mod):
    found = []

    def note(expr):
        if is_constant(expr):
            found.append(to_numpy(expr))

    relax.analysis.post_order_visit(mod["main"], note)
    return found


@pytest.mark.parametrize(
    ("options", "packed"),
    [
        ({"weight_bits": 4}, [4, 4, 4]),
        ({"weight_bits": 3, "group_size": 4}, [4, 4, 4]),
        ({"weight_bits": 8, "group_size": 32}, [8, 8, 8]),
        ({"weight_bits": 1}, [2, 2, 2]),
        ({"weight_bits": 4, "group_size": 3}, []),
        ({"weight_bits": 9}, []),
        ({"weight_bits": 4, "codebook": True}, []),
        ({"weight_bits": 4, "bits": {"second": 2, "third": 16, "fourth": 16}}, [2]),
    ],
    ids=str,
)
def test_which_weights_stay_packed(options, packed):
    mod, found = kernels(options)
    assert [int(bits) for name, _ in found for bits in re.findall(r"w(\d)_(?:matmul|conv2d)", name)] == packed
    assert len(mod["main"].params) - 1 == (1 if len(packed) == 3 else 3 if not packed else 2)
    assert LOADER in {str(var.name_hint) for var in mod.functions}


def test_shared_weights_lie_there_once_and_nowhere_as_floats():
    mod, _ = kernels({"weight_bits": 4, "group_size": 16, "skip_layers": ["first"]})
    words = {array.tobytes(): array.nbytes for array in constants(mod) if array.dtype == np.uint8}
    assert sorted(words.values()) == [16 * 32, 64 * 32]
    assert max(array.size for array in constants(mod) if array.dtype == np.float32) == 36 * 4 * 9
    assert [str(var.name_hint) for var in mod.functions if str(var.name_hint) == LOADER] == []


@pytest.mark.parametrize(
    "options",
    [
        {"weight_bits": 4, "group_size": 16},
        {"weight_bits": 8},
        {"weight_bits": 2},
        {"weight_bits": 4, "codebook": True},
    ],
    ids=str,
)
def test_a_package_equals_constants(options):
    quantized = api.quantize(net(), "weight-only", options=QuantizeOptions(**options))
    x = np.random.default_rng(0).standard_normal((1, 4, 7, 7)).astype(np.float32)
    expected = api.compile(RestoreWeights()(quantized.mod), "llvm").run(x)
    with gpu(), pytest.MonkeyPatch.context() as patch:
        if not is_real():
            patch.setattr(nvcc, "check_archs", lambda archs: None)
        package = api.compile(quantized, TARGET)
        found = package.run(x)
    for name, value in expected.items():
        # Four layers of at most 144 terms; codes plus 12 are up to 8 times the weights, and so are their roundings:
        # 4 * 8 * sqrt(144) * 2^-24 of the largest.
        np.testing.assert_allclose(found[name], value, atol=4 * 8 * 12 * 2**-24 * np.abs(value).max())
