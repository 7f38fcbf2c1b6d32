"""One virtual machine: the state of one run at a time. Several of them share the constants of one executable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tvm_ffi

from .arrays import as_writable
from .recorder import KernelTime, Recorder

CPU = 1  # kDLCPU
POOLED_ALLOCATOR = 2
_LOADER = "load_weights"


class Machine:
    """The registers and the program counter of TVM's Relax virtual machine, and room for inputs.

    Parameters
    ----------
    executable : the module that ``mod.so`` exports; its constants lie in it, and no machine copies them.
    alignment : what the addresses of inputs are to be multiples of, in bytes; the code may rely on it.
    """

    def __init__(self, executable: tvm_ffi.Module, alignment: int) -> None:
        self._module = executable.get_function("vm_load_executable")()
        self._module.get_function("vm_initialization")(*self._devices())
        self._main = self._module.get_function("main")
        self._places: dict[int, _Place] = {}
        self._alignment = alignment

    def _devices(self) -> tuple[int, ...]:
        """Return kind, number and allocator of each device that the machine uses, the kernels' first."""
        return (CPU, 0, POOLED_ALLOCATOR)

    def prepare(self, arrays: Sequence[np.ndarray]) -> list[tvm_ffi.Tensor]:
        """Return the inputs as tensors, valid until the next call of this method."""
        return [
            self._places.setdefault(index, _Place(self._alignment)).put(array)
            for index, array in enumerate(arrays)
        ]

    def run(self, tensors: Sequence[tvm_ffi.Tensor]) -> Sequence[tvm_ffi.Tensor]:
        """Return the outputs of ``main``; what they lie in may also be an input or a constant."""
        result = self._main(*tensors)
        return [result] if isinstance(result, tvm_ffi.Tensor) else result

    def profiled(self, tensors: Sequence[tvm_ffi.Tensor], runs: int, recorder: Recorder) -> list[KernelTime]:
        """Return the mean time of each kernel call over so many runs, after one to warm up."""
        self.run(tensors)
        self.instrument(recorder)
        try:
            totals: list[KernelTime] = []
            for _ in range(runs):
                recorder.calls = []
                self.run(tensors)
                totals = [
                    replace(call, seconds=call.seconds + (totals[index].seconds if totals else 0.0))
                    for index, call in enumerate(recorder.calls)
                ]
        finally:
            self.instrument(None)
        return [replace(total, seconds=total.seconds / runs) for total in totals]

    def instrument(self, function: Any) -> None:
        """Let TVM call this function before and after each call of the machine; None for nothing."""
        self._module.get_function("set_instrument")(function)

    def weights(self) -> list[tvm_ffi.Tensor]:
        """Return the weights that ``main`` takes behind its inputs: compressed ones, unpacked by kernels."""
        if not self._module.implements_function(_LOADER):
            return []
        return list(self._module.get_function(_LOADER)())


class _Place:
    """Where one input lies for the runtime: as it comes where that will do, else in memory kept for it.

    Fresh memory for each run would cost more than the copy: the system hands it out page by page.
    """

    def __init__(self, alignment: int) -> None:
        self._alignment = alignment
        self._room = np.empty(0, np.uint8)

    def put(self, array: np.ndarray) -> tvm_ffi.Tensor:
        """Return the array as a tensor that starts at a multiple of the alignment; valid until the next one is put."""
        if array.flags.c_contiguous:
            # DLPack refuses read-only memory, since it cannot say so; no kernel writes to an input.
            tensor = tvm_ffi.from_dlpack(as_writable(array))
            if tensor.data_ptr() % self._alignment == 0:
                return tensor
        return tvm_ffi.from_dlpack(self._copy_of(array))

    def _copy_of(self, array: np.ndarray) -> np.ndarray:
        """Return a copy that starts at a multiple of the alignment."""
        if self._room.nbytes < array.nbytes + self._alignment:
            self._room = np.empty(array.nbytes + self._alignment, np.uint8)
        start = -self._room.ctypes.data % self._alignment
        copy = self._room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy
