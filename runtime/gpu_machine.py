"""The virtual machine of a package whose kernels run on a GPU, and room there for inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm_ffi

from . import gpu
from .arrays import as_writable
from .machine import CPU, POOLED_ALLOCATOR, Machine
from .recorder import KernelTime, Recorder

_BY_KERNELS = "main_by_kernels"  # what ``main`` was before graphs took the place of kernels


class GpuMachine(Machine):
    """As ``Machine``; its constants are copied to the GPU when it is made.

    Parameters
    ----------
    executable, alignment : as for ``Machine``.
    """

    def __init__(self, executable: tvm_ffi.Module, alignment: int) -> None:
        super().__init__(executable, alignment)
        self._rooms: dict[int, gpu.Tensor] = {}
        has_graphs = self._module.implements_function(_BY_KERNELS)
        self._by_kernels = self._module.get_function(_BY_KERNELS) if has_graphs else self._main

    def _devices(self) -> tuple[int, ...]:
        return (gpu.CUDA, 0, POOLED_ALLOCATOR, CPU, 0, POOLED_ALLOCATOR)

    def profiled(self, tensors: Sequence[gpu.Tensor], runs: int, recorder: Recorder) -> list[KernelTime]:
        """Return what ``Machine.profiled`` does, of kernels that are launched one by one."""
        main, self._main = self._main, self._by_kernels
        try:
            return super().profiled(tensors, runs, recorder)
        finally:
            self._main = main

    def prepare(self, arrays: Sequence[Any]) -> list[gpu.Tensor]:
        """Return the inputs as tensors on the GPU: copies of arrays, valid until the next call; tensors as they are."""
        return [self._on_gpu(index, array) for index, array in enumerate(arrays)]

    def _on_gpu(self, index: int, value: np.ndarray | gpu.Tensor) -> gpu.Tensor:
        if isinstance(value, np.ndarray):
            value = tvm_ffi.from_dlpack(as_writable(np.ascontiguousarray(value)))
        elif value.data_ptr() % self._alignment == 0:
            return value
        room = self._rooms.get(index)
        if room is None:
            room = self._rooms[index] = gpu.empty(value.shape, value.dtype)
        if value.numel():
            gpu.copy(value, room)
        return room
