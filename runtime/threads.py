"""How many threads a package's kernels run on.

What ``TVM_NUM_THREADS`` says when the process runs its first package; else the ``num-cores`` of the package's
target; else one a physical core that this process may use.

Left alone TVM takes half of the processors, whatever they are, and binds the calling thread to the first of
them, where all that the process does later then stays.
"""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path

import tvm_ffi

from ..errors import TvmqError

_VARIABLE = "TVM_NUM_THREADS"
_BOUND = "TVMQ_THREADS_BOUND"
_CPUS = Path("/sys/devices/system/cpu")
_BIG_CORES = 1  # TVM's name for "the fastest first"

# TVM has a pool of threads for each thread that calls it.
_configured = threading.local()


@functools.cache
def requested_threads() -> int | None:
    """Return the number of threads that the user's environment asks for; let TVM use as many as there may be.

    TVM's runtime must be loaded, and have run no parallel kernel yet.

    Raises
    ------
    TvmqError : ``TVM_NUM_THREADS`` is no positive number.
    """
    said = os.environ.get(_VARIABLE)
    if said == os.environ.get(_BOUND):
        said = None  # a process that runs packages has started this one
    if said is not None and not (said.isdecimal() and int(said) > 0):
        raise TvmqError(f"{_VARIABLE}={said}: expected a number of threads from 1 on")
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    if said is not None:
        return int(said)
    # An upper bound for our number of threads. TVM reads it again at each parallel loop, and without it runs the
    # loop on one thread where the machine has two processors. The processes that this one starts must not take it
    # for the user's word, so it is marked as ours.
    os.environ[_VARIABLE] = os.environ[_BOUND] = str(len(_usable()))
    return None


def use_threads(cores: int | None) -> None:
    """Give the calling thread's kernels as many threads as the environment, ``cores`` or the machine says.

    Parameters
    ----------
    cores : the target's ``num-cores``; None where it has none.
    """
    count = requested_threads() or min(cores or physical_cores(), len(_usable()))
    if getattr(_configured, "count", None) == count:
        return
    tvm_ffi.get_global_func("runtime.config_threadpool")(_BIG_CORES, count)
    _configured.count = count


def physical_cores() -> int:
    """Return how many cores this process may use, two hardware threads of one core counted once."""
    siblings = set()
    for cpu in _usable():
        path = _CPUS / f"cpu{cpu}/topology/thread_siblings_list"
        siblings.add(path.read_text().strip() if path.exists() else str(cpu))
    return len(siblings)


def _usable() -> set[int]:
    """Return the numbers of the processors that this process may use."""
    return os.sched_getaffinity(0)
