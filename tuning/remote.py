"""Building kernels for another machine, and running them there through TVM's RPC.

The machine runs TVM's RPC server, and has registered with a tracker under a key. Each candidate takes it for itself.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from tvm import rpc, tirx

from ..errors import TvmqError
from ..runtime.compilers import linker_for
from ..runtime.link import link
from ..schedules.code import compile_kernel
from ..targets.features import triple_of
from .evaluate import Evaluate, random_arguments

CONNECT_SECONDS = 5
PATIENCE = 30
"""Seconds to wait for a device that whoever used it has not given back yet."""
_BIG_CORES = 1  # TVM's name for "the fastest first"


@dataclass(frozen=True)
class Remote:
    """Where candidates run; an instance is a ``Prepare``.

    Attributes
    ----------
    host, port : the tracker's.
    key : the devices' name there.
    cross_compiler, cross_compiler_options : as in ``runtime.compilers``.
    session_seconds : how long a candidate may keep a device.
    """

    host: str
    port: int
    key: str
    cross_compiler: str | None = None
    cross_compiler_options: tuple[str, ...] = ()
    session_seconds: int = 60

    def check(self, patience: float = 0.0) -> None:
        """Raise ``TvmqError`` where the tracker does not answer, or has no free device of this key.

        Parameters
        ----------
        patience : seconds to wait for a device that is in use.
        """
        deadline = time.monotonic() + patience
        while not self._has_free_device():
            if time.monotonic() >= deadline:
                raise TvmqError(
                    f"the tracker at {self.host}:{self.port} has no free device {self.key!r}: all are in use"
                )
            time.sleep(0.1)

    def _has_free_device(self) -> bool:
        """Tell whether one is free; raises ``TvmqError`` where none of this key has ever been."""
        where = f"{self.host}:{self.port}"
        try:
            socket.create_connection((self.host, self.port), CONNECT_SECONDS).close()
            summary = rpc.connect_tracker(self.host, self.port).summary()
        except (OSError, RuntimeError, ValueError) as error:
            raise TvmqError(f"no RPC tracker answers at {where}: {error}") from error
        queues = summary["queue_info"]
        if self.key not in queues:
            known = ", ".join(sorted(queues)) or "none"
            raise TvmqError(f"the tracker at {where} has no device {self.key!r}; it has {known}")
        return _free(queues[self.key]) > 0

    def __call__(self, func: tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
        """Build the function and link it for the device."""
        folder = tempfile.TemporaryDirectory(prefix="tvmq-tune-")
        library = Path(folder.name) / "kernel.so"
        command = linker_for(triple_of(target), self.cross_compiler, self.cross_compiler_options)
        link(compile_kernel(func, target), library, command)

        def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
            with folder:
                session = rpc.connect_tracker(self.host, self.port).request(
                    self.key, session_timeout=self.session_seconds, max_retry=1
                )
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


def _free(queue: dict[str, Any]) -> int:
    return int(queue.get("free", 0))
