"""Memory that nobody uses, back to the system."""

from __future__ import annotations

import ctypes

import tvm_ffi


def give_back() -> None:
    """Give back what TVM's pool keeps for runs to come, and the C library of freed memory: after many MB have gone.

    glibc keeps pieces of up to 32 MB, and the next step's weights rarely fit them.
    """
    clear = tvm_ffi.get_global_func("vm.builtin.memory_manager.clear", allow_missing=True)
    if clear is not None:
        clear()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
