"""Running ``mod.so`` with TVM's runtime alone, on any number of threads at once.

    calls of one engine  -->  a virtual machine for each that is under way; all over the same weights

``import tvm`` would load the compiler, 250 MB and a second or two. Running needs ``libtvm_runtime.so``
and tvm_ffi, so this folder talks to the Relax virtual machine through tvm_ffi.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import tvm_ffi
from tvm_ffi.libinfo import load_lib_ctypes

from ..errors import TvmqError
from .libraries import installed_folder
from .machine import Machine
from .recorder import KernelTime, Recorder, mean_times
from .workers import WORKERS

Result = TypeVar("Result")

OWN_BYTES = 1 << 16
"""Outputs from this size on are handed over where they are: pages of a new array cost more than the copy. The pool
rounds up to whole pages, so smaller ones are copied.
"""


@functools.cache
def load_runtime() -> None:
    """Load TVM's runtime libraries; a later ``import tvm`` finds them loaded.

    Raises
    ------
    TvmqError : apache-tvm is not installed.
    """
    folders = [installed_folder("tvm")]
    load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL", folders)
    # Sorting and top-k live in a library of their own.
    load_lib_ctypes("apache-tvm", "tvm_runtime_extra", "RTLD_LOCAL", folders)


class Engine:
    """The ``main`` function of a compiled module on this machine's CPU; any number of threads may call it.

    Parameters
    ----------
    library : path of ``mod.so``; the file may go once the engine is made.
    threads : on so many its kernels run where nothing else runs.
    alignment : what the addresses of inputs are to be multiples of, in bytes.

    Raises
    ------
    TvmqError : the library is none that TVM's runtime can load.

    It is made within ``Workers.run``: compressed weights are unpacked by kernels.
    """

    def __init__(self, library: Path, threads: int, alignment: int) -> None:
        self._threads = threads
        self._alignment = alignment
        self._idle: list[Machine] = []
        self._first: list[np.ndarray] | None = None
        self._constant: set[int] | None = None
        try:
            self._executable = tvm_ffi.load_module(str(library.resolve()), keep_module_alive=False)
            machine = Machine(self._executable, alignment)
            self._weights = machine.weights()
        except (RuntimeError, AttributeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TvmqError(f"mod.so cannot be loaded: {first}") from error
        self._idle.append(machine)

    def run(
        self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """Run once and return the outputs, in order, in memory that is the caller's.

        Parameters
        ----------
        arrays : one an input, in order, already of the input's shape and dtype.
        out : for each output the array to write it to, of its shape and dtype; None for a new one.
        """

        def run(machine: Machine) -> list[np.ndarray]:
            inputs = machine.prepare(arrays)
            results = [np.from_dlpack(output) for output in machine.run([*inputs, *self._weights])]
            owned = self._owned(results, inputs)
            return [
                _handed_over(result, place, own)
                for result, place, own in zip(results, out or [None] * len(results), owned, strict=True)
            ]

        return self._call(run)

    def time(self, arrays: Sequence[np.ndarray], number: int, repeat: int) -> list[float]:
        """Return ``repeat`` mean times, in seconds, of ``number`` runs each, after one run to warm up.

        Inputs are in place beforehand and outputs are not copied: it is the model's time alone.
        """

        def measure(machine: Machine) -> list[float]:
            tensors = [*machine.prepare(arrays), *self._weights]
            return mean_times(lambda: machine.run(tensors), number, repeat)

        return self._call(measure)

    def profile(self, arrays: Sequence[np.ndarray], runs: int) -> list[KernelTime]:
        """Return the mean time of each kernel call, in the order of the calls, after one run to warm up.

        Calls of the virtual machine's own (allocation, shape checks) are left out. The clock is read in
        Python, which adds about a microsecond a kernel.
        """

        def measure(machine: Machine) -> list[KernelTime]:
            return machine.profiled([*machine.prepare(arrays), *self._weights], runs, Recorder())

        return self._call(measure)

    def _owned(self, results: Sequence[np.ndarray], inputs: Sequence[tvm_ffi.Tensor]) -> list[bool]:
        """Return for each result whether its memory is nobody else's, and large enough to be handed over.

        Somebody else's is that of an input, of a constant, or of a result before it.

        Constants are told by the second run, when the results of the first still exist: theirs lie where they lay.

        Parameters
        ----------
        results : of one run, in memory of the machine's.
        inputs : of that run.
        """
        if all(
            result.nbytes < OWN_BYTES for result in results
        ):  # most: addresses take longer than small copies
            return [False] * len(results)
        addresses = [result.ctypes.data for result in results]
        if self._constant is None:
            first, self._first = self._first, list(results)
            if first is None:
                return [False] * len(results)
            self._constant = {result.ctypes.data for result in first} & set(addresses)
            self._first = None
        others = self._constant | {np.from_dlpack(tensor).ctypes.data for tensor in inputs}
        return [
            result.nbytes >= OWN_BYTES and address not in others and address not in addresses[:index]
            for index, (result, address) in enumerate(zip(results, addresses, strict=True))
        ]

    def _call(self, function: Callable[[Machine], Result]) -> Result:
        """Return what the function makes with a machine of its own, on the threads that are due to it."""

        def call() -> Result:
            try:
                machine = self._idle.pop()  # of several threads each gets another
            except IndexError:
                machine = Machine(self._executable, self._alignment)
            result = function(machine)
            self._idle.append(machine)  # not after an error: its registers may hold anything
            return result

        return WORKERS.run(self._threads, call)

    def __del__(self) -> None:
        """Give back the memory that TVM keeps for runs to come; it is of sizes that other models may never need."""
        if self._idle and not sys.is_finalizing():
            self._idle.clear()
            tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()


def _handed_over(result: np.ndarray, out: np.ndarray | None, own: bool) -> np.ndarray:
    """Return the result's values in ``out``, or else in its own memory where it has some, or a new array."""
    if out is None:
        return result if own else np.array(result)
    if out.shape != result.shape:
        raise TvmqError(f"out has shape {list(out.shape)}; expected {list(result.shape)}")
    np.copyto(out, result)
    return out
