"""How many threads a package's kernels run on, and how TVM is told.

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
_CPUS = Path("/sys/devices/system/cpu")
_BINDING = "TVM_BIND_THREADS"
_ONE_EACH, _ANY = (
    -2,
    -3,
)  # TVM's names for "each on one of these", the processors that its third argument lists, and "any"

# TVM has a pool of threads for each thread that calls it.
_configured = threading.local()


@functools.cache
def requested_threads() -> int | None:
    """Return the number of threads that the user's environment asks for.

    TVM's runtime must have run no parallel kernel yet.

    Raises
    ------
    TvmqError : ``TVM_NUM_THREADS`` is no positive number.
    """
    said = os.environ.get(_VARIABLE)
    if said is not None and not (said.isdecimal() and int(said) > 0):
        raise TvmqError(f"{_VARIABLE}={said}: expected a number of threads from 1 on")
    _may_bind()
    return None if said is None else int(said)


def thread_count(cores: int | None) -> int:
    """Return on how many threads kernels run that have the machine for themselves.

    Parameters
    ----------
    cores : the target's ``num-cores``; None where it has none.

    Raises
    ------
    TvmqError : as ``requested_threads``.
    """
    return requested_threads() or min(cores or physical_cores(), len(_usable()))


def share_of(count: int, calls: int) -> int:
    """Return on how many threads a run goes that would have ``count``, while ``calls`` runs are under way.

    They share the cores: each gets as many as the others, and one at least.
    """
    if calls == 1:
        return count
    return max(1, min(count, (requested_threads() or _cores_at_start()) // calls))


def use_threads(count: int) -> None:
    """Give the kernels that the calling thread runs so many threads, itself among them.

    With one, TVM makes no threads. With more it makes them once, as many as there may ever be, and they stay; so this
    is for threads that live long and never fork (``runtime.workers``).

    As many threads as processors are bound, one to each: TVM's wait by yielding, so Linux may leave two of them on
    one processor for seconds. Fewer are not, since other processes would bind theirs to the same ones.
    ``TVM_BIND_THREADS=0`` in the user's environment leaves all of them free.
    """
    if getattr(_configured, "count", None) == count:
        return
    if not hasattr(_configured, "cpus"):
        _configured.cpus = sorted(_usable())  # before this thread is bound to one of them
    cpus = [str(cpu) for cpu in _configured.cpus]
    # TVM never has more threads than processors are listed.
    most = 1 if count == 1 else requested_threads() or len(cpus)
    is_bound = 1 < count == most == len(cpus) and _may_bind()
    os.environ[_BINDING] = "1" if is_bound else "0"
    try:
        configure = tvm_ffi.get_global_func("runtime.config_threadpool")
        configure(_ONE_EACH if is_bound else _ANY, count, cpus if is_bound else ["0"] * most)
    finally:
        os.environ[_BINDING] = "0"
    # The calling thread is the first of them, and TVM leaves it where it is.
    if is_bound or getattr(_configured, "is_bound", False):
        os.sched_setaffinity(0, _configured.cpus[:1] if is_bound else _configured.cpus)
    _configured.count, _configured.is_bound = count, is_bound


@functools.cache
def _may_bind() -> bool:
    """Tell whether the user lets threads be bound to processors; from now on TVM binds none by itself."""
    said = os.environ.get(_BINDING)
    os.environ[_BINDING] = "0"
    return said != "0"


def physical_cores() -> int:
    """Return how many cores this process may use, two hardware threads of one core counted once."""
    siblings = set()
    for cpu in _usable():
        path = _CPUS / f"cpu{cpu}/topology/thread_siblings_list"
        siblings.add(path.read_text().strip() if path.exists() else str(cpu))
    return len(siblings)


_cores_at_start = functools.cache(physical_cores)


def _usable() -> set[int]:
    """Return the numbers of the processors that this process may use."""
    return os.sched_getaffinity(0)
