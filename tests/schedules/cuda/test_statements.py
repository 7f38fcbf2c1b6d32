"""Kernels of statements as they stand, a thread for each element; what comes before them in a function."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from tvm import te, tirx, topi
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from tvmq.passes.realize.compute.scans import scan
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.cuda.statements import THREADS

from .te_kernels import ROW, launches, placeholder, run

pytestmark = pytest.mark.usefixtures("gpu_compiler")


@pytest.mark.parametrize("rows", [1, THREADS - 1, THREADS, THREADS + 1, 200])
def test_a_thread_for_each_row(rows: int) -> None:
    x = np.random.default_rng(0).integers(-9, 9, (rows, 5, 3)).astype(np.int32)
    func = scan(rows, 5, 3, "int32", operator.add, 0, False)
    assert launches(cuda_kernel(func, ROW)) == [{"blockIdx.x": -(-rows // THREADS), "threadIdx.x": THREADS}]
    np.testing.assert_array_equal(run(func, x), np.cumsum(x, 1))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_reduction_of_pairs(axis: int) -> None:
    """TVM's argmax, whose step has two results."""
    x = np.random.default_rng(1).permutation(99).reshape(9, 11).astype(np.float32)
    data = placeholder(x.shape)
    func = te.create_prim_func([data, topi.argmax(data, axis)])
    np.testing.assert_array_equal(run(func, x), x.argmax(axis))


def function() -> tirx.PrimFunc:
    """``total[i] = sum(data[i])``, of which statements read each once."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data, result = T.arg("data", T.buffer((6, 40), "int32")), T.arg("result", T.buffer((6,), "int32"))
        with T.sblock("root"):
            total = T.sblock_alloc_buffer((6,), "int32")
            with T.grid(6, 40) as (i, k), T.sblock("total"):
                row, tap = T.axis.remap("SR", [i, k])
                with T.init():
                    T.buffer_store(total, 0, [row])
                T.buffer_store(total, total[row] + data[row, tap], [row])
            with T.serial(6) as i, T.sblock("twice"):
                row = T.axis.spatial(6, i)
                T.buffer_store(result, total[row], [row])
                T.buffer_store(result, result[row] * 2, [row])
    return builder.get()


def test_statements_read_a_reduction() -> None:
    x = np.random.default_rng(2).integers(-9, 9, (6, 40)).astype(np.int32)
    assert len(launches(cuda_kernel(function(), ROW))) == 2
    np.testing.assert_array_equal(run(function(), x), 2 * x.sum(1))


def test_statements_of_no_elements_are_not_launched() -> None:
    assert not launches(cuda_kernel(scan(0, 5, 3, "int32", operator.add, 0, False), ROW))
    assert not launches(cuda_kernel(scan(4, 0, 3, "int32", operator.add, 0, False), ROW))
