"""Running ``mod.so`` on a GPU: one virtual machine, for the GPU does one thing after the other; weights lie there once.

host arrays   -->  copied in, results copied out: NumPy arrays
GPU's tensors -->  as they are, results stay there: tensors, not yet computed when ``run`` returns
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tvm_ffi

from ..errors import TvmqError
from . import gpu
from .gpu_machine import GpuMachine
from .recorder import KernelTime, Recorder, mean_times

Result = TypeVar("Result")

_GPU = threading.Lock()
"""Held by whoever uses the GPU, of all engines: while one captures a graph, in its first run, CUDA lets no other thread
of the process launch, allocate or wait."""


class GpuEngine:
    """The ``main`` function of a compiled module on this machine's GPU; any number of threads may call it.

    Parameters
    ----------
    library : path of ``mod.so``; the file may go once the engine is made.
    alignment : what the addresses of inputs are to be multiples of, in bytes.
    needed_bytes : the GPU's memory that the model takes, for messages.

    Raises
    ------
    TvmqError : the library is none that TVM's runtime can load; the GPU has not enough memory.
    """

    def __init__(self, library: Path, alignment: int, needed_bytes: int) -> None:
        self._process = os.getpid()
        self._needed_bytes = needed_bytes
        self._first: list[gpu.Tensor] | None = None
        self._constant: set[int] | None = None
        try:
            executable = tvm_ffi.load_module(str(library.resolve()), keep_module_alive=False)
            with _GPU:
                self._machine = GpuMachine(executable, alignment)
                self._weights = self._machine.weights()
        except (RuntimeError, AttributeError, MemoryError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self._explained(error) or TvmqError(f"mod.so cannot be loaded: {first}") from error

    def run(
        self,
        arrays: Sequence[np.ndarray | gpu.Tensor],
        out: Sequence[np.ndarray | None] | None = None,
        on_gpu: bool = False,
    ) -> list[Any]:
        """Run once and return the outputs, in order, in memory that is the caller's.

        Parameters
        ----------
        arrays : one an input, in order, already of the input's shape and dtype; on the GPU or not.
        out : for each output the array to write it to, of its shape and dtype; None for a new one.
        on_gpu : leave the outputs there, as tensors; ``out`` is of no use then.
        """

        def run() -> list[Any]:
            inputs = self._machine.prepare(arrays)
            results = list(self._machine.run([*inputs, *self._weights]))
            if on_gpu:
                return self._owned(results, inputs)
            places = [
                np.empty(tuple(result.shape), str(result.dtype)) if place is None else place
                for result, place in zip(results, out or [None] * len(results), strict=True)
            ]
            gpu.wait()
            for result, place in zip(results, places, strict=True):
                _copy_out(result, place)
            return places

        return self._call(run)

    def time(self, arrays: Sequence[Any], number: int, repeat: int) -> list[float]:
        """Return ``repeat`` mean times, in seconds, of ``number`` runs each, after one run to warm up.

        Inputs are in place beforehand and outputs are not copied: it is the model's time alone, until the GPU is done.
        """

        def measure() -> list[float]:
            tensors = [*self._machine.prepare(arrays), *self._weights]

            def once() -> None:
                self._machine.run(tensors)
                gpu.wait()

            return mean_times(once, number, repeat)

        return self._call(measure)

    def profile(self, arrays: Sequence[Any], runs: int) -> list[KernelTime]:
        """Return the mean time of each kernel call, in the order of the calls, after one run to warm up.

        The GPU is waited for before and after each, which adds some 10 microseconds.
        """

        def measure() -> list[KernelTime]:
            tensors = [*self._machine.prepare(arrays), *self._weights]
            return self._machine.profiled(tensors, runs, Recorder(gpu.wait))

        return self._call(measure)

    def _owned(self, results: Sequence[gpu.Tensor], inputs: Sequence[gpu.Tensor]) -> list[gpu.Tensor]:
        """Return the results, copied where their memory is an input's, a constant's, or a result's before them.

        Constants are told by the second run, when the results of the first still exist: theirs lie where they lay.
        """
        addresses = [result.data_ptr() for result in results]
        others = {tensor.data_ptr() for tensor in inputs}
        if self._constant is None:
            if self._first is None:
                self._first = list(results)
                return [_copy_of(result) for result in results]
            self._constant = {result.data_ptr() for result in self._first} & set(addresses)
            self._first = None
        others |= self._constant
        return [
            _copy_of(result) if address in others or address in addresses[:index] else result
            for index, (result, address) in enumerate(zip(results, addresses, strict=True))
        ]

    def _call(self, function: Callable[[], Result]) -> Result:
        """Return what the function makes with the machine to itself."""
        if os.getpid() != self._process:
            raise TvmqError(
                "a package that has run on a GPU cannot run in a forked process, as CUDA cannot: "
                "start processes by 'spawn', or load the package in each"
            )
        with _GPU:
            try:
                return function()
            except (RuntimeError, MemoryError) as error:
                explained = self._explained(error)
                if explained is None:
                    raise
                raise explained from error

    def _explained(self, error: Exception) -> TvmqError | None:
        """Return the error to raise where the GPU has not enough memory; None for any other."""
        if "out of memory" not in str(error).lower():
            return None
        free = gpu.free_bytes()
        left = "" if free is None else f", and {free / 1e6:,.0f} MB are free"
        return TvmqError(
            f"the GPU has not enough memory: the model takes {self._needed_bytes / 1e6:,.0f} MB{left}"
        )


def _copy_of(tensor: gpu.Tensor) -> gpu.Tensor:
    copy = gpu.empty(tensor.shape, tensor.dtype)
    if tensor.numel():
        gpu.copy(tensor, copy)
    return copy


def _copy_out(result: gpu.Tensor, place: np.ndarray) -> None:
    """Copy from the GPU into an array of the host, of any layout."""
    whole = place if place.flags.c_contiguous else np.empty(place.shape, place.dtype)
    if whole.nbytes:
        gpu.copy(result, tvm_ffi.from_dlpack(whole))
        gpu.wait()
    if whole is not place:
        np.copyto(place, whole)
