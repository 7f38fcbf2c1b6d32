"""Building kernels for another machine, and running them there through TVM's RPC.

The machine runs TVM's RPC server or ``tvmq-rpc``, and has registered with a tracker. Each candidate has it to itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm
from tvm import rpc, tirx
from tvm.error import RPCError

from ..errors import TvmqError
from ..runtime.compilers import linker_for
from ..runtime.link import link
from ..schedules.code import compile_kernel
from ..schedules.cuda.archs import check_cuda_archs
from ..targets.features import arch_of, features_of, is_gpu, triple_of
from ..targets.host import required_features
from .devices import Devices, explained, refuse_other_device
from .evaluate import Evaluate, random_arguments
from .measure import PATIENCE
from .on_gpu import launches_of, refuse_other_gpu, times

_BIG_CORES = 1  # TVM's name for "the fastest first"


@dataclass(frozen=True)
class Remote:
    """Where candidates run, on the CPU or, as the target says, on the GPU; an instance is a ``Prepare``.

    Attributes
    ----------
    devices : any of them may run a candidate.
    cross_compiler, cross_compiler_options : as in ``runtime.compilers``.
    session_seconds : how long a candidate may keep a device.
    """

    devices: Devices
    cross_compiler: str | None = None
    cross_compiler_options: tuple[str, ...] = ()
    session_seconds: int = 60

    def count(self) -> int:
        """Return how many candidates may run side by side; raises ``TvmqError`` where all devices stay away."""
        return self.devices.count(PATIENCE)

    def check(self, target: tvm.target.Target) -> None:
        """Raise ``TvmqError`` where there is no free device, or one that cannot run code for the target."""
        self.devices.check(PATIENCE)
        arch = arch_of(target)
        session = self.devices.open(self.session_seconds)
        where = f"{self.devices}, {self.devices.key!r},"
        refuse_other_device(session, where, arch, required_features(arch, features_of(target)))
        if is_gpu(target):
            check_cuda_archs(target, ())
            refuse_other_gpu(_capability(session, where), target, f"the device at {where}")

    def __call__(self, func: tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
        """Build the function and link it for the device."""
        folder = tempfile.TemporaryDirectory(prefix="tvmq-tune-")
        library = Path(folder.name) / "kernel.so"
        command = linker_for(triple_of(target), self.cross_compiler, self.cross_compiler_options)
        on_gpu = is_gpu(target)
        if on_gpu:
            executable = launches_of(func, target)
            link(executable.mod, library, command, executable.device_code)
        else:
            link(compile_kernel(func, target), library, command)

        def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
            with folder, explained(str(self.devices)):
                session = self.devices.open(self.session_seconds)
                session.upload(str(library))
                if on_gpu:
                    module, devices = session.load_module(library.name), (session.cuda(0), session.cpu(0))
                    return times(module, func, target, *devices, (number, repeat, minimum_ms))
                threads = int(target.attrs.get("num-cores", 0))
                if threads:
                    session.get_function("runtime.config_threadpool")(_BIG_CORES, threads)
                device = session.cpu()
                arrays = [tvm.runtime.tensor(array, device) for array in random_arguments(func)]
                timer = session.load_module(library.name).time_evaluator(
                    "main", device, number=number, repeat=repeat, min_repeat_ms=minimum_ms
                )
                return timer(*arrays).results

        return evaluate


def _capability(session: rpc.RPCSession, where: str) -> int:
    """Return that of the device's GPU, ten times NVIDIA's number; raise ``TvmqError`` where it has none."""
    try:
        gpu = session.cuda(0)
        if gpu.exist:
            return round(10 * float(gpu.compute_version))
    except RPCError:  # TVM there has no runtime for GPUs
        pass
    raise TvmqError(
        f"the device at {where} has no NVIDIA GPU, or its RPC server does not find CUDA's runtime there"
    )
