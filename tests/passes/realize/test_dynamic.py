"""Products of row pairs as integers: structure, and the numbers of their definition in NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tvm
from tvm import relax

import tvmq
from tests.gpu import gpu
from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.graph import dtype_of, tupled
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.realize.realize import Realize
from tvmq.schedules.pipeline import build
from tvmq.search.host import run_on_host
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from ..modules import calls, module, random

SHAPE, COLUMNS = (3, 7, 33), 19
AVX2 = row_of(parse_target("llvm -mcpu=haswell"))


def weight(seed=0, columns=COLUMNS, inner=SHAPE[-1]):
    return np.random.default_rng(seed).integers(-60, 61, (inner, columns)).astype(np.int8)


def scales(columns=COLUMNS):
    return (np.random.default_rng(1).random(columns) + 0.5).astype(np.float32)


def restored(values, scale, zeros=None):
    zeros = np.zeros(scale.shape, np.int8) if zeros is None else zeros
    return relax.op.dequantize(relax.const(values), relax.const(scale), relax.const(zeros), axis=1)


def product(b, x, name="product", symmetric=False, whole=False, bias=None, seed=0):
    rows = b.row_pair(x, symmetric=symmetric, whole=whole)
    result = b.add(relax.op.matmul(rows, b.add(restored(weight(seed), scales()), name)), name)
    return result if bias is None else b.add(relax.op.add(result, relax.const(bias)), name)


def called(mod):
    """Return the kernels that ``main`` of a realized module calls, without shapes, in order."""
    found = []

    def visit(expr):
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.call_tir":
            found.append(expr.args[0].name_hint.split("_")[0])

    relax.analysis.post_order_visit(mod["main"], visit)
    return found


def compiled(mod):
    """Return the realized and compiled module as a function of ``x``."""
    package = tvmq.compile(mod)
    return lambda x: next(iter(package.run({"x": x}).values()))


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_numbers(symmetric, whole, has_bias):
    bias = random(COLUMNS) if has_bias else None
    mod = module({"x": SHAPE}, partial(product, symmetric=symmetric, whole=whole, bias=bias))
    x = random(*SHAPE, seed=5)
    x[0, 1], x[1, 2, 3] = 0, 40
    lines = x.reshape(1, -1) if whole else x
    integers, row_scales, zeros = arithmetic.quantize_rows(lines, AVX2.activation_dtype, symmetric)
    centred = (integers.astype(np.int32) - zeros[..., None].astype(np.int32)).reshape(SHAPE)
    total = arithmetic.matmul_accumulator(centred, weight())
    if whole:
        row_scales = np.broadcast_to(row_scales, SHAPE[:-1])
    np.testing.assert_array_equal(compiled(mod)(x), arithmetic.scale_rows(total, row_scales, scales(), bias))


@pytest.mark.parametrize("arch", ["sm_61", "sm_80", "sm_90a"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_gpu_gives_the_same(whole, arch):
    mod = module({"x": SHAPE}, partial(product, whole=whole, bias=random(COLUMNS)))
    target, x = parse_target(f"cuda -arch={arch}"), random(*SHAPE, seed=5)
    expected = compiled(mod)(x)
    with gpu(row_of(target).gpu.capability):
        built = build(Realize(row_of(target))(mod), target, row_of(target))
        main = relax.VirtualMachine(built.executable, tvm.cuda(0))["main"]
        np.testing.assert_array_equal(main(tvm.runtime.tensor(x, tvm.cuda(0))).numpy(), expected)


def test_a_row_with_nan_or_infinity_gives_nan_and_spares_the_others():
    run, x = compiled(module({"x": SHAPE}, product)), random(*SHAPE)
    good = run(x)
    x[0, 1, 4], x[2, 3, 0] = np.nan, -np.inf
    bad = run(x)
    for line in np.ndindex(*SHAPE[:-1]):
        if line in ((0, 1), (2, 3)):
            assert np.isnan(bad[line]).all()
        else:
            np.testing.assert_array_equal(bad[line], good[line])


def test_readers_share_the_quantized_rows():
    def body(b, x):
        rows = b.row_pair(x, symmetric=False)
        parts = [
            b.add(relax.op.matmul(rows, b.add(restored(weight(seed), scales()))), f"p{seed}")
            for seed in range(3)
        ]
        return b.add(relax.op.add(parts[0], b.add(relax.op.multiply(parts[1], parts[2]))))

    realized = Realize(AVX2)(module({"x": SHAPE}, body))
    assert called(realized) == ["quantize", "qmatmul", "qmatmul", "qmatmul"]
    statuses = {layer.name: layer.status for layer in get_layers(realized)}
    assert [statuses[f"p{seed}"] for seed in range(3)] == ["dynamic"] * 3


def test_what_is_behind_joins_the_products_kernel():
    def body(b, x):
        y = product(b, x, "p", bias=random(COLUMNS))
        y = b.add(relax.op.nn.gelu(y))
        return b.add(relax.op.add(y, b.add(relax.op.nn.relu(product(b, x, "q", seed=3)))))

    mod = module({"x": SHAPE}, body)
    package = tvmq.compile(mod)
    assert (
        len(package.profile({"x": random(*SHAPE)})) == 4
    )  # rows twice, since nothing shares the pair; two products
    (simulated,) = run_on_host(tupled(mod))({"x": random(*SHAPE)})
    # Sums of 33 products of up to 5 and 90, in float there, and approximations off by 1e-6 of the value on both sides.
    tolerance = (35 * 2.0**-24 + 4e-6) * 33 * 450
    np.testing.assert_allclose(
        next(iter(package.run({"x": random(*SHAPE)}).values())), simulated, atol=tolerance
    )


def test_the_float_form_is_kept_for_other_readers():
    def body(b, x):
        rows = b.row_pair(x, symmetric=True)
        y = b.add(relax.op.matmul(rows, b.add(restored(weight(), scales()), "p")), "p")
        return b.add(relax.Tuple([y, rows]))

    mod = module({"x": SHAPE}, body)
    assert called(Realize(AVX2)(mod)) == ["quantize", "qmatmul"]
    outputs = list(tvmq.compile(mod).run({"x": random(*SHAPE)}).values())
    expected = run_on_host(mod)({"x": random(*SHAPE)})
    np.testing.assert_array_equal(outputs[1], expected[1])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("wide", "its asymmetric weight does not fit int8 without the zero point"),
        ("axis", "its weight is quantized along axis 0, not along the output channels"),
        ("float", "its weight is not quantized"),
    ],
)
def test_near_misses_stay_float(changed, reason):
    def body(b, x):
        values = {
            "wide": restored(weight(), scales(), np.full(COLUMNS, -100, np.int8)),
            "axis": relax.op.dequantize(
                relax.const(weight()), relax.const(scales(33)), relax.const(np.zeros(33, np.int8)), axis=0
            ),
            "float": relax.op.nn.relu(relax.const(random(SHAPE[-1], COLUMNS))),
        }[changed]
        rows = b.row_pair(x, symmetric=False)
        return b.add(relax.op.matmul(rows, b.add(values, "weights")), "p")

    realized = Realize(AVX2)(module({"x": SHAPE}, body))
    assert called(realized) == []
    (layer,) = [layer for layer in get_layers(realized) if layer.name == "p"]
    assert (layer.status, layer.reason) == ("float", reason)


def test_a_quantized_reader_gets_the_products_float_result():
    def body(b, x):
        y = product(b, x, "p")
        scale, zero = relax.const(np.float32(0.5)), relax.const(np.uint8(128))
        y = b.add(relax.op.quantize(y, scale, zero, -1, "uint8"), "p")
        return b.add(relax.op.dequantize(y, scale, zero, -1), "p")

    realized = Realize(AVX2)(module({"x": SHAPE}, body))
    assert called(realized) == ["quantize", "qmatmul", "dequantize"]
    (rounding,) = calls(realized, "quantize")  # still an operator, which joins the product's kernel
    assert dtype_of(rounding.args[0]) == "float32"


def test_no_rows():
    mod = module({"x": (0, 33)}, product)
    assert called(Realize(AVX2)(mod)) == []
