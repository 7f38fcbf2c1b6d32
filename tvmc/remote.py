"""A package that runs on another machine, which TVM's RPC server has put at the disposal of others."""

from __future__ import annotations

import gc
import socket
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError
from ..runtime import archive
from ..runtime.inputs import bind_inputs

if TYPE_CHECKING:
    import numpy as np
    from tvm.rpc import RPCSession

_LOADER = "load_weights"  # what compressed weights are unpacked by, once
_SESSION_SECONDS = 1000  # how long a run may keep a device
_BIG_CORES = 1  # TVM's name for "the fastest first"


class RemotePackage:
    """A package on a device, with ``metadata``, ``run`` and ``time`` as ``runtime.package.Package`` has them.

    A context, which gives the device back at its end.

    Parameters
    ----------
    metadata, library : what is in the package (``runtime.archive.read``).
    source : its name, for messages.
    host, port : the tracker's; or, without a key, the server's own.
    key : the devices' name at the tracker.

    Raises
    ------
    TvmqError : nobody answers at the address, or there is no free device of this key; it is another machine than the
        package is for, or cannot load it.
    """

    def __init__(
        self,
        metadata: dict[str, Any],
        library: bytes,
        source: str,
        host: str,
        port: int,
        key: str | None = None,
    ) -> None:
        from tvm import relax

        from ..tuning.devices import explained, refuse_other_device

        self.metadata = metadata
        where = f"{host}:{port}"
        # What TVM raises when a run fails there, made a TvmqError.
        self._explained = partial(explained, where)
        session = _session(host, port, key)
        refuse_other_device(session, where, metadata["arch"], metadata["cpu_features"])
        with tempfile.TemporaryDirectory(prefix="tvmq-run-") as folder:
            file = Path(folder) / archive.LIBRARY
            file.write_bytes(library)
            session.upload(str(file))
        threads = int(self.metadata["target"].get("num-cores", 0))
        if threads:
            session.get_function("runtime.config_threadpool")(_BIG_CORES, threads)
        self._device = session.cpu()
        try:
            self._vm = relax.VirtualMachine(session.load_module(archive.LIBRARY), self._device)
        except (AttributeError, RuntimeError) as error:
            arch = self.metadata["arch"]
            raise TvmqError(
                f"the device at {where} cannot load {source}, which is for {arch} with "
                f"{', '.join(self.metadata['cpu_features']) or 'no feature in particular'}"
            ) from error
        self._weights = self._load_weights() if self._vm.module.implements_function(_LOADER) else []

    def __enter__(self) -> RemotePackage:
        return self

    def __exit__(self, *exception: object) -> None:
        del self._vm, self._weights, self._device
        # What the virtual machine holds refers to itself: only the collector frees it, and the session with it.
        gc.collect()

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Send the inputs, run once, and fetch the outputs."""
        with self._explained():
            self._set(inputs)
            self._vm.invoke_stateful("main")
            outputs = [output.numpy() for output in self._outputs("main")]
        names = [tensor["name"] for tensor in self.metadata["outputs"]]
        return dict(zip(names, outputs, strict=True))

    def time(self, inputs: Mapping[str, Any], number: int = 1, repeat: int = 10) -> list[float]:
        """Return ``repeat`` times in seconds, each the mean of ``number`` runs; inputs are there beforehand."""
        with self._explained():
            self._set(inputs)
            timer = self._vm.time_evaluator("invoke_stateful", self._device, number=number, repeat=repeat)
            return [float(seconds) for seconds in timer("main").results]

    def _set(self, inputs: Mapping[str, Any]) -> None:
        import tvm

        arrays = bind_inputs(self.metadata["inputs"], inputs, self.metadata.get("dimensions"))
        tensors = [tvm.runtime.tensor(array, self._device) for array in arrays]
        self._vm.set_input("main", *tensors, *self._weights)

    def _load_weights(self) -> list[Any]:
        self._vm.set_input(_LOADER)
        self._vm.invoke_stateful(_LOADER)
        return self._outputs(_LOADER)

    def _outputs(self, function: str) -> list[Any]:
        outputs = self._vm.get_outputs(function)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _session(host: str, port: int, key: str | None) -> RPCSession:
    from tvm import rpc

    from ..tuning.devices import CONNECT_SECONDS, Devices
    from ..tuning.measure import PATIENCE

    try:
        if key is None:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
            return rpc.connect(host, port)
        devices = Devices(host, port, key)
        devices.check(PATIENCE)
        return devices.open(_SESSION_SECONDS)
    except OSError as error:
        raise TvmqError(f"no RPC server answers at {host}:{port}: {error}") from error
    except (RuntimeError, ValueError) as error:
        hint = "; a tracker needs --rpc-key" if key is None else ""
        raise TvmqError(f"no RPC server answers at {host}:{port}{hint}") from error
