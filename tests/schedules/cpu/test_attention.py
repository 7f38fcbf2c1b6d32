"""The kernel of attention equals NumPy for all orders, steps and tails, and where the softmax runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tvm
from tvm import te

from tvmq.passes.hub import arithmetic
from tvmq.passes.realize.compute.attention import (
    HEADS_FIRST,
    SEQUENCES_FIRST,
    Attention,
    Rounding,
    Step,
    attention,
)
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.cpu.attention import attention_kernel
from tvmq.schedules.rules import schedule
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from ...attentions import in_order, reference

TARGET = parse_target("llvm -mcpu=native")

TOLERANCE = 2e-5
"""Scores here are below 64 and off by less than 2**-18 of that, an exponential by as much of itself; each weighs values
below 8, whose mean is near 0.
"""

SEQUENCES, HEADS = (SEQUENCES_FIRST,) * 4, (HEADS_FIRST,) * 4
SCALED = (Step("scale", 0.25),)


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def inputs(form, sizes):
    """Return query, key and value of (B, Sq, Sk, H, key heads, D, width)."""
    batch, queries, keys, heads, key_heads, depth, width = sizes
    shapes = [
        (batch, heads, queries, depth),
        (batch, key_heads, keys, depth),
        (batch, key_heads, keys, width),
    ]
    return [
        np.ascontiguousarray(in_order(random(shape, seed), order))
        for seed, (shape, order) in enumerate(zip(shapes, form.orders[:3], strict=True))
    ]


def kernel_of(form, arrays, target=TARGET, threads=1):
    """Return the scheduled function of arrays of these shapes."""
    given = [
        te.placeholder(
            [tvm.tirx.IntImm("int64", extent) for extent in array.shape], "float32", name=f"x{place}"
        )
        for place, array in enumerate(arrays)
    ]
    row = row_of(target)
    func = te.create_prim_func([*given, attention(*given, form=form, by=row.converts_by)])
    return schedule(func.with_attr("tirx.noalias", True), row, threads, "attention")


def run(form, arrays, operands=(), threads=1):
    func = kernel_of(form, [*arrays, *operands], threads=threads)
    shape = [int(extent) for extent in func.params[-1].shape]
    out = tvm.runtime.tensor(np.full(shape, 77).astype(form.dtype))
    compile_kernel(func, TARGET)["main"](*map(tvm.runtime.tensor, (*arrays, *operands)), out)
    return out.numpy()


@pytest.mark.parametrize(
    "orders",
    [
        SEQUENCES,
        HEADS,
        (SEQUENCES_FIRST, HEADS_FIRST, HEADS_FIRST, SEQUENCES_FIRST),
        ("sbhd", "shbd", "hbsd", "hsbd"),
    ],
)
@pytest.mark.parametrize(
    "sizes",
    [
        (1, 6, 16, 1, 1, 8, 16),  # whole tiles
        (2, 7, 17, 3, 3, 16, 32),  # a query and a key too many
        (1, 13, 33, 4, 2, 13, 11),  # heads share keys; no whole vectors
        (1, 1, 5, 2, 1, 40, 24),  # one query, less than a vector of keys
        (1, 3, 1, 1, 1, 4, 4),  # one key
        (2, 1, 37, 4, 2, 64, 64),  # so few queries that keys are read as they lie
        (1, 3, 16, 1, 1, 16, 8),
    ],
    ids=str,
)
def test_all_orders_and_tails(orders, sizes):
    form = Attention(orders, SCALED)
    arrays = inputs(form, sizes)
    np.testing.assert_allclose(run(form, arrays), reference(form, arrays), atol=TOLERANCE)


B, SQ, SK, H = 2, 9, 21, 3


@pytest.mark.parametrize(
    ("steps", "shapes"),
    [
        ((Step("add", operand=0),), [(B, 1, 1, SK)]),
        ((Step("add", operand=0),), [(1, H, SQ, 1)]),
        (
            (Step("scale", 0.3), Step("add", operand=0), Step("keep", -1e4, 1)),
            [(1, H, SQ, SK), (B, 1, 1, SK)],
        ),
        ((Step("replace", -3.0, 0),), [(1, 1, SQ, SK)]),
        ((Step("multiply", operand=0),), [(1, H, 1, 1)]),
        ((), []),
    ],
    ids=str,
)
def test_steps(steps, shapes):
    form = Attention(SEQUENCES, steps)
    arrays = inputs(form, (B, SQ, SK, H, H, 16, 16))
    operands = [(random(shape, 9) > 0.3).astype("float32") * 2 for shape in shapes]
    np.testing.assert_allclose(run(form, arrays, operands), reference(form, arrays, operands), atol=TOLERANCE)


@pytest.mark.parametrize("keys", [40, 3000])
def test_a_row_without_keys_is_no_number_and_others_do_not_mind(keys):
    form = Attention(SEQUENCES, (Step("keep", -math.inf, 0),))
    arrays = inputs(form, (1, 8, keys, 1, 1, 64, 64))
    mask = (random((1, 1, 8, keys), 3) > 0).astype("float32")
    mask[0, 0, 2] = 0
    mask[0, 0, 3] = np.arange(keys) == keys - 1  # the last key alone
    result, expected = run(form, arrays, [mask]), reference(form, arrays, [mask])
    assert np.isnan(result[0, 2]).all() and np.isnan(result).sum() == result[0, 2].size
    np.testing.assert_allclose(result, expected, atol=TOLERANCE)


@pytest.mark.parametrize("keys", [40, 3000])
def test_a_row_without_keys_is_zeros_where_it_ought_to_be(keys):
    form = Attention(SEQUENCES, (Step("add", operand=0),), zeros=True)
    arrays = inputs(form, (1, 8, keys, 1, 1, 64, 40))
    mask = np.where(random((1, 1, 8, keys), 3) > 0, np.float32(0), np.float32(-np.inf))
    mask[0, 0, 2] = -np.inf
    mask[0, 0, 5, 0] = np.nan
    result = run(form, arrays, [mask])
    assert not result[0, [2, 5]].any()
    np.testing.assert_allclose(result, reference(form, arrays, [mask]), atol=TOLERANCE)


@pytest.mark.parametrize(("queries", "keys"), [(1, 3001), (5, 2999), (61, 3200)])
def test_the_softmax_runs_where_keys_leave_the_cache(queries, keys):
    form = Attention(HEADS, (Step("scale", 0.5), Step("add", operand=0)))
    arrays = inputs(form, (1, queries, keys, 2, 1, 64, 40))
    mask = random((1, 2, 1, keys), 5)
    np.testing.assert_allclose(run(form, arrays, [mask]), reference(form, arrays, [mask]), atol=TOLERANCE)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_queries_of_few_heads(threads):
    form = Attention(SEQUENCES, SCALED)
    arrays = inputs(form, (1, 50, 20, 1, 1, 16, 16))
    np.testing.assert_array_equal(run(form, arrays, threads=threads), run(form, arrays))


@pytest.mark.parametrize("width", [16, 11])
def test_results_are_rounded_as_they_are_written(width):
    exact = Attention(SEQUENCES, SCALED)
    out = arithmetic.Output("uint8", 131, 0, 255)
    form = Attention(SEQUENCES, SCALED, Rounding(0.0123, out))
    arrays = inputs(form, (1, 9, 20, 2, 2, 16, width))
    expected = arithmetic.quantize(run(exact, arrays), np.float32(0.0123), 131, "uint8")
    np.testing.assert_array_equal(run(form, arrays), expected)


@pytest.mark.parametrize(
    ("cpu", "instruction"),
    [
        ("-mcpu=znver4", "vfmadd231ps"),
        ("-mtriple=aarch64-linux-gnu -mcpu=cortex-a76", "fmla"),
        ("-mtriple=arm-linux-gnueabihf -mcpu=cortex-a7", "vmul.f32"),
    ],
)
def test_tiles_fill_the_registers_of_other_targets(cpu, instruction):
    target = parse_target(f"llvm {cpu}")
    form = Attention(SEQUENCES, SCALED)
    func = kernel_of(form, inputs(form, (1, 128, 128, 2, 2, 32, 32)), target)
    assembly = compile_kernel(func, target).inspect_source("asm")
    assert assembly.count(instruction) >= 2 * (row_of(target).vector_registers - 8)


@pytest.mark.parametrize("most", [40, 4000])
def test_open_lengths(most):
    """One kernel takes any number of keys and queries up to the greatest; of many keys its softmax runs."""
    form = Attention(SEQUENCES, (Step("scale", 0.25), Step("add", operand=0)))
    queries, keys = tvm.tirx.Var("q", "int64"), tvm.tirx.Var("k", "int64")
    shapes = [(1, queries, 2, 16), (1, keys, 2, 16), (1, keys, 2, 11), (1, 1, 1, keys)]
    given = [te.placeholder(shape, "float32", name=f"x{place}") for place, shape in enumerate(shapes)]
    row = row_of(TARGET)
    func = te.create_prim_func([*given, attention(*given, form=form, by=row.converts_by)])
    func = attention_kernel(func, row, 1, lambda extent: 40 if extent.same_as(queries) else most)
    kernel = compile_kernel(func, TARGET)["main"]
    for count, length in ((1, 1), (5, 16), (6, 17), (13, 40), (40, 33), (2, most), (7, most - 3)):
        arrays = inputs(form, (1, count, length, 2, 2, 16, 11))
        mask = random((1, 1, 1, length), 4)
        out = tvm.runtime.tensor(np.full((1, count, 2, 11), 77, "float32"))
        kernel(*map(tvm.runtime.tensor, (*arrays, mask)), out)
        np.testing.assert_allclose(out.numpy(), reference(form, arrays, [mask]), atol=TOLERANCE)


def test_what_is_no_attention_is_left_alone():
    x = te.placeholder((4,), "float32")
    func = te.create_prim_func([x, te.compute((4,), lambda i: x[i] + 1.0)])
    assert attention_kernel(func, row_of(TARGET), 1) is None
