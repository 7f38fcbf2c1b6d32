"""Float modules on this machine, with this project's own kernels: what calibration, reports and searches run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax

from ..passes.realize.layout import Layout
from ..passes.weight_only.restore import RestoreWeights
from ..runtime.workers import run_kernels
from ..schedules.blame import build_explained
from ..targets.features import row_of
from ..targets.parse import parse_target


def run_on_host(
    mod: tvm.IRModule, cores: int | None = None
) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """Compile a float module whose ``main`` returns a tuple with this machine's kernels, for calibration.

    They run on so many cores; None means all of them.
    """
    target = parse_target("llvm -mcpu=native")
    names = [param.name for param in mod["main"].params]
    built = build_explained(Layout()(RestoreWeights()(mod)), target, row_of(target))
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        tensors = [tvm.runtime.tensor(inputs[name]) for name in names]
        return [value.numpy() for value in run_kernels(cores, lambda: main(*tensors))]

    return run
