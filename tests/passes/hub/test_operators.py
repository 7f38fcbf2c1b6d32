"""The operator table: names that exist, reasons for refusals, what is pointwise."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax
from tvm.ir import Op

from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.operators import OPERATORS, pointwise

from ..modules import const, module


def _call(make, shape=(2, 4, 5, 6)):
    mod = module({"x": shape}, lambda b, x: b.add(make(x)))
    return next(b.value for b in reversed(bindings_of(mod)) if op_name(b.value))


@pytest.mark.parametrize("name", OPERATORS)
def test_names_exist(name):
    assert name in Op.list_op_names()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda x: relax.op.nn.conv2d(x, const(8, 4, 3, 3)), ""),
        (
            lambda x: relax.op.nn.conv2d(x, const(3, 3, 6, 8), data_layout="NHWC", kernel_layout="HWIO"),
            "its layout is NHWC, HWIO; NCHW, OIHW is quantized",
        ),
        (
            lambda x: relax.op.nn.conv2d(x, relax.op.abs(const(8, 4, 3, 3))),
            "its weights are computed, not constant",
        ),
        (lambda x: relax.op.matmul(x, const(6, 3)), ""),
        (lambda x: relax.op.matmul(x, const(4, 6, 3)), "its second operand is not one matrix of weights"),
        (lambda x: relax.op.matmul(const(3, 5), x), "its second operand is not one matrix of weights"),
        (lambda x: relax.op.mean(x, [2, 3]), ""),
        (lambda x: relax.op.mean(x, [-1, -2], keepdims=True), ""),
        (lambda x: relax.op.mean(x, [1]), "it averages other axes than height and width"),
        (lambda x: relax.op.mean(x), "it averages other axes than height and width"),
        (lambda x: relax.op.nn.max_pool2d(x, layout="NHWC"), "its layout is NHWC; NCHW is quantized"),
        (lambda x: relax.op.image.resize2d(x, (10, 12), method="nearest_neighbor"), ""),
        (
            lambda x: relax.op.image.resize2d(x, (10, 12), method="linear"),
            "its linear interpolation makes new values",
        ),
        (lambda x: relax.op.nn.pad(x, [1] * 8), ""),
        (lambda x: relax.op.nn.pad(x, [1] * 8, "reflect"), ""),
        (
            lambda x: relax.op.nn.pad(x, [1] * 8, "constant", 0.5),
            "it pads with 0.5, which its input's scale may not have",
        ),
        (lambda x: relax.op.add(x, const(4, 1, 1)), "one operand is a constant that is no single number"),
    ],
)
def test_refusals(make, reason):
    call = _call(make)
    assert OPERATORS[op_name(call)].refuse(call) == reason


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: relax.op.sigmoid(x), True),
        (lambda x: relax.op.clip(x, 0, 6), True),
        (lambda x: relax.op.multiply(x, x), True),
        (lambda x: relax.op.add(relax.const(np.ones((1, 1), "float32")), x), True),
        (lambda x: relax.op.add(x, const(4, 1, 1)), False),
        (lambda x: relax.op.add(x, const(1, 1, 1, 1, 1)), False),  # widens the shape
        (lambda x: relax.op.nn.max_pool2d(x), False),
        (lambda x: relax.op.sin(x), False),
    ],
)
def test_pointwise(make, expected):
    assert pointwise(_call(make)) is expected
