"""Recurrent layers by a block of threads a sample, beside the same function on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import tirx

from tvmq.frontends.onnx.converters.recurrent import DEFAULTS
from tvmq.passes.hub.recurrences import GATES, GateFunction, Recurrence
from tvmq.passes.realize.compute.recurrence import float_recurrence
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.rules import schedule
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from .te_kernels import ROW, launches, run

pytestmark = pytest.mark.usefixtures("gpu_compiler")

CPU = parse_target("llvm -mcpu=native")
STEPS, BATCH = 4, 3
TOLERANCE = 2.0**-20
"""States are below 1; each step rounds 4 functions and sums that another compiler may contract."""


def layer(cell: str, hidden: int, **options: bool) -> Recurrence:
    functions = tuple(map(GateFunction, DEFAULTS[cell]))
    return Recurrence(cell, STEPS, BATCH, hidden, functions, **options)


def arrays(func: tirx.PrimFunc) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    hidden = int(func.params[-1].shape[-1])
    found = []
    for param in func.params[:-3]:
        shape = [int(extent) for extent in param.shape]
        found.append((rng.normal(size=shape) / np.sqrt(hidden if len(shape) == 2 else 4)).astype(np.float32))
    found[4] = np.array([STEPS, 1, 3], np.int32)
    return found


def on_cpu(func: tirx.PrimFunc, given: list[np.ndarray]) -> list[np.ndarray]:
    compiled = compile_kernel(schedule(func, row_of(CPU), 1, "recurrence"), CPU)
    results = [np.zeros([int(extent) for extent in param.shape], np.float32) for param in func.params[-3:]]
    tensors = [tvm.runtime.tensor(array) for array in (*given, *results)]
    compiled["main"](*tensors)
    return [tensor.numpy() for tensor in tensors[-3:]]


@pytest.mark.parametrize("hidden", [1, 7, 33, 300])
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("RNN", {"is_reverse": True}),
        ("GRU", {}),
        ("GRU", {"resets_product": True}),
        ("LSTM", {}),
        ("LSTM", {"is_coupled": True, "is_reverse": True}),
    ],
)
def test_results_are_those_of_the_cpu(cell: str, options: dict, hidden: int) -> None:
    func = float_recurrence(layer(cell, hidden, **options))
    gates = GATES[cell] - (cell == "GRU" and not options)  # that are multiplied at once
    (launch,) = launches(cuda_kernel(func, ROW))
    assert launch == {"blockIdx.x": BATCH, "threadIdx.x": min(1024, -(-gates * hidden // 32) * 32)}
    given = arrays(func)
    for result, expected in zip(run(func, *given), on_cpu(func, given), strict=True):
        np.testing.assert_allclose(result, expected, atol=TOLERANCE)


@pytest.mark.parametrize(("cell", "barriers"), [("RNN", 3), ("GRU", 5), ("LSTM", 3)])
def test_a_step_has_few_barriers(cell: str, barriers: int) -> None:
    """One is in front of the first step."""
    assert str(cuda_kernel(float_recurrence(layer(cell, 64)), ROW)).count("tvmq_barrier") == barriers
