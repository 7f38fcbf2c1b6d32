"""Running a package: here or on a device, with times and with the old names of outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import TvmqError

if TYPE_CHECKING:
    import numpy as np


class Runnable(Protocol):
    """What ``Package`` and ``RemotePackage`` have in common."""

    @property
    def metadata(self) -> dict[str, Any]: ...

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]: ...

    def time(self, inputs: Mapping[str, Any], number: int, repeat: int) -> list[float]: ...


@contextmanager
def open_package(
    path: Path, server: tuple[str, int] | None, key: str | None = None, profile: bool = False
) -> Iterator[Any]:
    """Give the package ready to run: here, or on a device of a tracker or a server.

    Parameters
    ----------
    server : host and port; None is this machine.
    profile : it has to have ``profile``, which only a package in this process has.

    Raises
    ------
    TvmqError : the package cannot be read, or the device cannot be reached.
    """
    if server is None:
        from ..runtime.package import load

        if key is not None:
            raise TvmqError("--rpc-key has no effect without --rpc-tracker")
        yield load(path)
        return
    from ..runtime import archive
    from ..runtime.metadata import is_for_gpu
    from .remote import RemotePackage

    if is_for_gpu(archive.read_metadata(path)):
        raise TvmqError(
            f"{path} is for a GPU, which runs on its own machine alone: it cannot go with --rpc-tracker"
        )
    if profile:
        raise TvmqError(
            "--profile reads the time of each layer in this process: it cannot go with --rpc-tracker"
        )
    with RemotePackage(*archive.read(path), str(path), *server, key) as package:
        yield package


def check_device(device: str | None, metadata: Mapping[str, Any]) -> None:
    """Raise ``TvmqError`` where a package is for another kind of device than the one that is named.

    Parameters
    ----------
    device : ``"cpu"``, ``"cuda"``, or None for any.
    """
    from ..runtime.metadata import is_for_gpu

    if device == "cpu" and is_for_gpu(metadata):
        raise TvmqError("the package is for a GPU: compile it with --target llvm to run it on the CPU")
    if device == "cuda" and not is_for_gpu(metadata):
        raise TvmqError("the package is for a CPU: compile it with --target cuda to run it on a GPU")


def numbered(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs by the names that the old ``tvmc`` gave them: ``output_0`` and so on."""
    return {f"output_{number}": array for number, array in enumerate(outputs.values())}


def times_of(
    package: Runnable, inputs: Mapping[str, Any], number: int, repeat: int, end_to_end: bool
) -> list[float]:
    """Return ``repeat`` times in seconds, each the mean of ``number`` runs.

    Parameters
    ----------
    end_to_end : what is done to inputs and outputs counts too.
    """
    if not end_to_end:
        return package.time(inputs, number=number, repeat=repeat)
    package.run(inputs)
    means = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            package.run(inputs)
        means.append((time.perf_counter() - start) / number)
    return means
