"""Building kernels for another machine, and running them there through TVM's RPC.

The machine runs TVM's RPC server or ``tvmq-rpc``, and has registered with a tracker. Each candidate has it to itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm
from tvm import tirx

from ..runtime.compilers import linker_for
from ..runtime.link import link
from ..schedules.code import compile_kernel
from ..targets.features import arch_of, features_of, triple_of
from ..targets.host import required_features
from .devices import Devices, explained, refuse_other_device
from .evaluate import Evaluate, random_arguments
from .measure import PATIENCE

_BIG_CORES = 1  # TVM's name for "the fastest first"


@dataclass(frozen=True)
class Remote:
    """Where candidates run; an instance is a ``Prepare``.

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

    def __call__(self, func: tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
        """Build the function and link it for the device."""
        folder = tempfile.TemporaryDirectory(prefix="tvmq-tune-")
        library = Path(folder.name) / "kernel.so"
        command = linker_for(triple_of(target), self.cross_compiler, self.cross_compiler_options)
        link(compile_kernel(func, target), library, command)

        def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
            with folder, explained(str(self.devices)):
                session = self.devices.open(self.session_seconds)
                session.upload(str(library))
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
