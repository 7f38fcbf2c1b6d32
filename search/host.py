"""Float modules on this machine, with this project's own kernels: what calibration, reports and searches run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from ..parallel import in_parallel
from ..passes.calibrate.watch import Run, Runner
from ..passes.hub.open_dims import ranges_of
from ..passes.hub.own_code import to_library
from ..passes.realize.layout import Layout
from ..passes.weight_only.restore import RestoreWeights
from ..runtime.workers import run_kernels
from ..schedules import pipeline
from ..schedules.blame import run_explained
from ..schedules.lowering import ALIGNMENT
from ..schedules.open.instances import FEW
from ..schedules.pipeline import Built, build_open
from ..targets.features import row_of
from ..targets.parse import parse_target

FEW_SAMPLES = 8
"""Samples up to which LLVM's optimizations take longer than they save."""


def _is_optimized(runs: int | None) -> bool:
    return runs is None or runs > FEW_SAMPLES


def _target(runs: int | None) -> tvm.target.Target:
    return parse_target("llvm -mcpu=native", **({} if _is_optimized(runs) else {"opt-level": "0"}))


def run_on_host(mod: tvm.IRModule, cores: int | None = None, samples: int | None = None) -> Run:
    """Compile a float module whose ``main`` returns a tuple with this machine's kernels, for calibration.

    Parameters
    ----------
    cores : on how many the kernels run; None means all of them.
    samples : how many it will run, where that is known: for few its code is not optimized.
    """
    target = _target(samples)
    names = [param.name for param in mod["main"].params]
    laid = Layout()(RestoreWeights()(mod))
    build = (
        partial(build_open, lower=lambda static, row: static, ladder=FEW)
        if ranges_of(laid)
        else pipeline.build
    )
    built = run_explained(build, laid, target, row_of(target))
    _make_code(built, samples)
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        tensors = [tvm.runtime.tensor(inputs[name]) for name in names]
        return [np.from_dlpack(value) for value in run_kernels(cores, lambda: main(*tensors))]

    return run


def _make_code(built: Built, runs: int | None) -> None:
    """Let LLVM compile each part of the code, which it does when the first of its functions is asked for."""
    if not _is_optimized(runs):
        to_library(built.executable)
    names = [var.name_hint for var in built.mod.get_global_vars()]

    def make(module: tvm.runtime.Module) -> None:
        for name in names:
            if module.implements_function(name):
                module.get_function(name)
                return

    in_parallel(make, built.executable.mod.imports)


def function_on_host(
    mod: tvm.IRModule, cores: int | None = None, runs: int | None = None
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Compile a float module in NHWC whose ``main`` returns a tuple, for many runs, or as few as are named.

    The result takes the arrays of the parameters, which are read where they lie.
    """
    target = _target(runs)
    built = run_explained(pipeline.build, mod, target, row_of(target))
    _make_code(built, runs)
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        tensors = [_tensor(array) for array in arrays]
        return [np.from_dlpack(value) for value in run_kernels(cores, lambda: main(*tensors))]

    return run


def _tensor(array: np.ndarray) -> tvm_ffi.Tensor:
    """Return an array as a tensor: in place where kernels can read it there."""
    array = np.asarray(array)  # NumPy makes numbers of arrays without axes
    is_aligned = array.ctypes.data % ALIGNMENT == 0
    if is_aligned and array.flags.c_contiguous and array.flags.writeable:
        return tvm_ffi.from_dlpack(array, require_alignment=ALIGNMENT)
    return tvm.runtime.tensor(np.require(array, requirements="C"))


class KeepsLast:
    """A runner that keeps what another made of the last module, for passes that watch one model one after another."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._last: tuple[tvm.IRModule, Run] | None = None

    def __call__(self, mod: tvm.IRModule) -> Run:
        if self._last is None or not tvm_ffi.structural_equal(
            self._last[0]["main"], mod["main"], map_free_vars=True
        ):
            self._last = None  # what it holds goes before more is made
            self._last = mod, self._runner(mod)
        return self._last[1]
