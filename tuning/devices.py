"""Devices that TVM's RPC tracker knows under one key: how many there are, one to work on, and what machine that is."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tvm import rpc
from tvm.error import RPCError

from ..errors import TvmqError
from ..targets.host import arch_of_triple

CONNECT_SECONDS = 5
_RETRIES = 5

# What a session has a function for: that of tvmq-rpc tells features too, that of TVM's compiler the triple alone.
_MACHINE, _TRIPLE = "tvmq.machine", "target.llvm_get_system_triple"


@dataclass(frozen=True)
class Devices:
    """The devices of a tracker at ``host`` and ``port`` that are called ``key``."""

    host: str
    port: int
    key: str

    def count(self, patience: float = 0.0) -> int:
        """Return how many there are, in use or not.

        Parameters
        ----------
        patience : seconds to wait for the first.

        Raises
        ------
        TvmqError : the tracker does not answer, or knows none.
        """
        deadline = time.monotonic() + patience
        while True:
            known = [str(server["key"]).removeprefix("server:") for server in self._summary()["server_info"]]
            if self.key in known:
                return known.count(self.key)
            if time.monotonic() >= deadline:
                others = ", ".join(sorted(set(known))) or "none"
                raise TvmqError(f"the tracker at {self} has no device {self.key!r}; it has {others}")
            time.sleep(0.1)

    def check(self, patience: float = 0.0) -> None:
        """Raise ``TvmqError`` as ``count`` does, or where all are in use for longer than ``patience`` in seconds."""
        deadline = time.monotonic() + patience
        self.count()
        while not self._summary()["queue_info"].get(self.key, {}).get("free"):
            if time.monotonic() >= deadline:
                raise TvmqError(f"the tracker at {self} has no free device {self.key!r}: all are in use")
            time.sleep(0.1)

    def open(self, seconds: int) -> rpc.RPCSession:
        """Return a session on the next free one that answers, which takes it back after ``seconds``."""
        tracker = rpc.connect_tracker(self.host, self.port)
        return tracker.request(self.key, session_timeout=seconds, max_retry=_RETRIES)

    def _summary(self) -> dict[str, Any]:
        try:
            # TVM would try for a minute.
            socket.create_connection((self.host, self.port), CONNECT_SECONDS).close()
            return rpc.connect_tracker(self.host, self.port).summary()
        except (OSError, RuntimeError, ValueError) as error:
            raise TvmqError(f"no RPC tracker answers at {self}: {error}") from error

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what TVM raises when a program on the device at ``where``, or the way there, fails into a ``TvmqError``."""
    try:
        yield
    except RPCError as error:
        lines = str(error).strip().splitlines()
        raise TvmqError(f"the device at {where} failed: {lines[-1]}") from error
    except RuntimeError as error:
        raise TvmqError(f"the connection to the device at {where} was lost") from error


def refuse_other_device(session: rpc.RPCSession, where: str, arch: str, features: Iterable[str]) -> None:
    """Raise ``TvmqError`` where a device cannot run code for the architecture with these features of LLVM's.

    As far as its server tells: TVM's in Python tells no features, and without TVM's compiler nothing.
    """
    machine = _machine(session)
    if machine and machine[0] != arch:
        raise TvmqError(f"the device at {where} is {machine[0]}, and the target is {arch}")
    missing = sorted(set(features) - set(machine[1:])) if len(machine) > 1 else []
    if missing:
        raise TvmqError(f"the CPU of the device at {where} lacks {', '.join(missing)}, which the target has")


def _machine(session: rpc.RPCSession) -> list[str]:
    """Return the device's architecture and its features; empty where it does not tell."""
    try:
        return str(session.get_function(_MACHINE)()).split()
    except AttributeError:
        pass
    try:
        return [arch_of_triple(str(session.get_function(_TRIPLE)()))]
    except AttributeError:
        return []
