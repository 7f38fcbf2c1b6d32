"""Running ``mod.so`` with TVM's runtime alone.

``import tvm`` would load the compiler, 250 MB and a second or two. Running needs ``libtvm_runtime.so``
and tvm_ffi, so this file talks to the Relax virtual machine through tvm_ffi.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from tvm_ffi.libinfo import load_lib_ctypes

from ..errors import TvmqError
from .libraries import installed_folder
from .threads import use_threads

_CPU = 1  # kDLCPU
_POOLED_ALLOCATOR = 2
_LOADER = "load_weights"  # what compressed weights are unpacked by, once
_ALIGNMENT = 64  # bytes; generated code may assume it of every tensor


@dataclass(frozen=True)
class KernelTime:
    """Time that one kernel call of a run took.

    Attributes
    ----------
    kernel : the kernel's name in ``mod.so``.
    layers : names of the user's nodes that it computes.
    seconds : its own time, the mean over the profiled runs.
    """

    kernel: str
    layers: tuple[str, ...]
    seconds: float


@functools.cache
def _load_runtime() -> None:
    """Load TVM's runtime libraries; a later ``import tvm`` finds them loaded.

    Raises
    ------
    TvmqError : apache-tvm is not installed.
    """
    folders = [installed_folder("tvm")]
    load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL", folders)
    # Sorting and top-k live in a library of their own.
    load_lib_ctypes("apache-tvm", "tvm_runtime_extra", "RTLD_LOCAL", folders)


class _Place:
    """Where one input lies for the runtime: as it comes where that will do, else in memory kept for it.

    Fresh memory for each run would cost more than the copy: the system hands it out page by page.
    """

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)

    def put(self, array: np.ndarray) -> Any:
        """Return the array as a tensor that starts at a multiple of ``_ALIGNMENT``; valid until the next one is put."""
        flags = array.flags
        if not (flags.c_contiguous and flags.writeable and array.ctypes.data % _ALIGNMENT == 0):
            if self._room.nbytes < array.nbytes + _ALIGNMENT:
                self._room = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
            start = -self._room.ctypes.data % _ALIGNMENT
            copy = self._room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
            copy[...] = array
            array = copy
        return tvm_ffi.from_dlpack(array)


class Engine:
    """The ``main`` function of a compiled module on this machine's CPU.

    Parameters
    ----------
    library : path of ``mod.so``.
    cores : number of threads, where the environment says none; see ``runtime.threads``.

    Raises
    ------
    TvmqError : the library is none that TVM's runtime can load.
    """

    def __init__(self, library: Path, cores: int | None = None) -> None:
        _load_runtime()
        self._cores = cores
        self._places: dict[int, _Place] = {}
        try:
            module = tvm_ffi.load_module(str(library.resolve()), keep_module_alive=False)
            self._vm = module.get_function("vm_load_executable")()
            self._vm.get_function("vm_initialization")(_CPU, 0, _POOLED_ALLOCATOR)
            self._main = self._vm.get_function("main")
            has_weights = self._vm.implements_function(_LOADER)
        except (RuntimeError, AttributeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TvmqError(f"mod.so cannot be loaded: {first}") from error
        use_threads(cores)
        self._weights = list(self._vm.get_function(_LOADER)()) if has_weights else []

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once and return copies of the outputs, in order.

        Parameters
        ----------
        arrays : one an input, in order, already of the input's shape and dtype.
        """
        # A copy, because the virtual machine uses an output's memory again in the next run.
        return [np.array(np.from_dlpack(output)) for output in _tensors(self._main(*self._prepare(arrays)))]

    def time(self, arrays: Sequence[np.ndarray], number: int, repeat: int) -> list[float]:
        """Return ``repeat`` mean times, in seconds, of ``number`` runs each, after one run to warm up.

        Inputs are in place beforehand and outputs are not copied: it is the model's time alone.
        """
        tensors = self._prepare(arrays)
        self._main(*tensors)
        means = []
        for _ in range(repeat):
            start = time.perf_counter()
            for _ in range(number):
                self._main(*tensors)
            means.append((time.perf_counter() - start) / number)
        return means

    def profile(self, arrays: Sequence[np.ndarray], runs: int) -> list[KernelTime]:
        """Return the mean time of each kernel call, in the order of the calls, after one run to warm up.

        Calls of the virtual machine's own (allocation, shape checks) are left out. The clock is read in
        Python, which adds about a microsecond a kernel.
        """
        tensors = self._prepare(arrays)
        self._main(*tensors)
        recorder = _Recorder()
        self._vm.get_function("set_instrument")(recorder)
        try:
            totals: list[KernelTime] = []
            for _ in range(runs):
                recorder.calls = []
                self._main(*tensors)
                totals = [
                    replace(call, seconds=call.seconds + (totals[index].seconds if totals else 0.0))
                    for index, call in enumerate(recorder.calls)
                ]
        finally:
            self._vm.get_function("set_instrument")(None)
        return [replace(total, seconds=total.seconds / runs) for total in totals]

    def _prepare(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        """Return the arrays as the runtime's tensors, and set the number of threads to come."""
        use_threads(self._cores)
        inputs = [self._places.setdefault(index, _Place()).put(array) for index, array in enumerate(arrays)]
        return [*inputs, *self._weights]


class _Recorder:
    """Instrument of the virtual machine: called before and after each of its calls."""

    def __init__(self) -> None:
        self.calls: list[KernelTime] = []
        self._start = 0.0

    def __call__(self, _function: Any, name: str, before: bool, _result: Any, *_arguments: Any) -> int:
        now = time.perf_counter()
        if before:
            self._start = time.perf_counter()
        elif not name.startswith("vm.builtin."):
            self.calls.append(KernelTime(name, (), now - self._start))
        return 0  # run the call


def _tensors(result: Any) -> list[Any]:
    """Return the function's result as a list: a tensor, or a tuple of tensors."""
    return [result] if hasattr(result, "__dlpack__") else list(result)
