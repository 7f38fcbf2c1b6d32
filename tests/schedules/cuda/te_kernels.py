"""TE functions as kernels of the GPU of the tests, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tvm
import tvm_ffi
from tvm import te, tirx

from tvmq.schedules.code import compile_kernel
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

TARGET = parse_target("cuda -arch=sm_80")
ROW = row_of(TARGET)


def placeholder(shape: Sequence[int], dtype: str = "float32", name: str = "data") -> te.Tensor:
    """Return an input with extents of 64 bits, as Relax has them."""
    return te.placeholder([tirx.IntImm("int64", extent) for extent in shape], dtype, name)


def run(function: tirx.PrimFunc, *arrays: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """Return what the parameters behind those of the arrays are; of one, without a list."""
    compiled = compile_kernel(cuda_kernel(function, ROW), TARGET)
    results = [
        np.zeros([int(extent) for extent in param.shape], str(param.dtype))
        for param in function.params[len(arrays) :]
    ]
    device = tvm.cuda(0)
    on_gpu = [tvm.runtime.tensor(array, device) for array in (*arrays, *results)]
    compiled["main"](*on_gpu)
    found = [tensor.numpy() for tensor in on_gpu[len(arrays) :]]
    return found if len(found) > 1 else found[0]


def launches(kernel: tirx.PrimFunc) -> list[dict[str, int]]:
    """Return the extents of each launch's threads and blocks, by their name."""
    found: list[dict[str, int]] = []

    def note(attr: tirx.AttrStmt) -> None:
        if str(attr.attr_key) != "thread_extent":
            return
        tag = str(attr.node.thread_tag)
        if tag == "blockIdx.x":
            found.append({})
        found[-1][tag] = int(attr.value)

    tvm_ffi.structural_walk(kernel.body, [(tirx.AttrStmt, note)], order="pre")
    return found
