"""The code of a package: its bytes, and the engine that they become at the first run."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .archive import LIBRARY
from .engine import Engine, load_runtime
from .gpu import require_gpu
from .gpu_engine import GpuEngine
from .metadata import ALIGNMENT
from .threads import thread_count
from .workers import WORKERS

_PARALLEL = b"__TVMBackendParallelLaunch"  # a symbol of libraries that have a parallel loop, and of no others


class Library:
    """Content of ``mod.so``, loaded once: copies of a package share it, and pickles of one have the bytes alone.

    Parameters
    ----------
    content : content of ``mod.so``.

    Attributes
    ----------
    loaded : the engine; None before it is loaded.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.loaded: Engine | GpuEngine | None = None
        # Taken only within ``Workers.run``, so that no fork ever finds it locked.
        self._lock = threading.Lock()

    def load(self, cores: int | None, alignment: int) -> Engine:
        """Return the loaded library, which is ``loaded`` from now on.

        Parameters
        ----------
        cores : number of threads, where the environment says none; see ``runtime.threads``.
        alignment : what the addresses of inputs are to be multiples of, in bytes.

        Raises
        ------
        TvmqError : as ``Engine`` and ``threads.thread_count``.
        """
        load_runtime()
        threads = thread_count(cores) if _PARALLEL in self.content else 1
        return WORKERS.run(threads, lambda: self._load(lambda path: Engine(path, threads, alignment)))

    def load_for_gpu(self, metadata: Mapping[str, Any], source: str) -> GpuEngine:
        """Return the loaded library, whose kernels run on this machine's GPU, which is ``loaded`` from now on.

        Parameters
        ----------
        metadata, source : of the package.

        Raises
        ------
        TvmqError : there is no such GPU, or no runtime for it; the GPU's memory is too small; as ``GpuEngine``.
        """
        require_gpu(metadata, source)
        alignment = metadata.get("alignment", ALIGNMENT)
        needed = sum(metadata["bytes"].get(part, 0) for part in ("weights", "activations"))
        return self._load(lambda path: GpuEngine(path, alignment, needed))

    def _load(self, make: Callable[[Path], Any]) -> Any:
        with self._lock, tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
            if self.loaded is None:
                # The file may go once it is mapped.
                path = Path(folder) / LIBRARY
                path.write_bytes(self.content)
                self.loaded = make(path)
            return self.loaded

    def __deepcopy__(self, _memo: dict[int, Any]) -> Library:
        return self

    def __reduce__(self) -> tuple[type[Library], tuple[bytes]]:
        return Library, (self.content,)
