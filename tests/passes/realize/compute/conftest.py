"""Compile a kernel's definition with the schedule that it gets in a model, and run it on this machine.

Kernels of another architecture run here too, with the meaning of each of its instructions in place of its code;
``tests/targets`` has each code against its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pytest
import tvm
from tvm import te, tirx
from tvm.s_tir import TensorIntrin

from tests.gpu import arch_for, gpu
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.rules import schedule
from tvmq.schedules.start import start_from_offset
from tvmq.targets import host, intrinsics
from tvmq.targets.parse import parse_target
from tvmq.targets.row import TargetRow
from tvmq.targets.rows import GPU_ROWS, PORTABLE, ROWS

# A CPU that has the row's features; for those of another architecture, any.
CPUS = {
    "x86-avx512vnni": "icelake-server",
    "x86-avxvnni": "alderlake",
    "x86-avx512": "skylake-avx512",
    "x86-avx2": "haswell",
}


def in_turn(*axes: Sequence[object]) -> list[tuple[object, ...]]:
    """Return every combination of all axes but the last, with one value of the last each.

    Its values take turns so that each meets every value of each other axis of no fewer values.
    """
    combinations = product(*(enumerate(axis) for axis in axes[:-1]))
    return [
        (*(value for _, value in parts), axes[-1][sum(place for place, _ in parts) % len(axes[-1])])
        for parts in combinations
    ]


def target_of(row: TargetRow) -> tvm.target.Target:
    """Return the target on which kernels of the row are tested."""
    if row.gpu is not None:
        return parse_target(f"cuda -arch={arch_for(row.name)}")
    return tvm.target.Target(
        {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": CPUS.get(row.name, "haswell")}
    )


# The others have the same dot products of one row as one of these: ``tests/test_same_bits.py`` runs networks on all.
TESTED = [*(row for row in ROWS if row.name not in ("aarch64-i8mm", "armv7-neon")), PORTABLE]
# One of each way to multiply; others have the same kernels with other tiles.
GPUS = [row for row in GPU_ROWS if row.name in ("sm_90a", "sm_80", "sm_61")]


@pytest.fixture(params=[*TESTED, *GPUS], ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Iterator[TargetRow]:
    """Each target row whose kernels can run here; or those that a test is parametrized with.

    A module with ``EMULATED = False`` has none whose instructions are emulated, which is slow.
    """
    if request.param.gpu is not None:
        with gpu(request.param.gpu.capability):
            yield request.param
        return
    if request.param.arch == "aarch64" and not getattr(request.module, "EMULATED", True):
        pytest.skip("tests/test_same_bits.py has networks of these")
    wanted = [feature for feature in request.param.features if request.param.arch == "x86_64"]
    if host.architecture() != "x86_64":
        pytest.skip("the kernels' tests run on x86-64")
    missing = host.missing_features("x86_64", wanted)
    if missing:
        pytest.skip(f"this CPU has no {', '.join(missing)}")
    if request.param.arch == "x86_64":
        yield request.param
        return
    for name in intrinsics.names_of(request.param):
        meaning, _ = intrinsics.built(name)
        TensorIntrin.register(intrinsics.register(name), meaning, meaning, override=True)
    yield request.param
    intrinsics.register.cache_clear()  # the next user registers their code


@pytest.fixture
def run_kernel(row: TargetRow) -> Callable[..., np.ndarray]:
    """Function ``(define, arrays, threads=1) -> result`` that compiles a TE definition and runs it."""

    def run(define: Callable[..., te.Tensor], arrays: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
        placeholders = [
            # Shapes are int64, as Relax has them: LLVM makes other code of int32.
            te.placeholder([tirx.IntImm("int64", n) for n in array.shape], str(array.dtype), name=f"p{index}")
            for index, array in enumerate(arrays)
        ]
        result = define(*placeholders)
        func = te.create_prim_func([*placeholders, result]).with_attr("global_symbol", "main")
        scheduled = schedule(start_from_offset(func), row, threads, "main")
        assert scheduled.attrs["tirx.is_scheduled"]
        library = compile_kernel(scheduled, target_of(row))
        shape = [int(extent) for extent in result.shape]
        device = tvm.cpu() if row.gpu is None else tvm.cuda(0)
        out = tvm.runtime.tensor(np.full(shape, 77, str(result.dtype)), device)
        library["main"](*(tvm.runtime.tensor(array, device) for array in arrays), out)
        return out.numpy()

    return run
