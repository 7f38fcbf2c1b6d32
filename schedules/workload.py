"""What a tuned record belongs to: a kernel, whatever its calibration.

    result = clip(rint(sum * scale), 0 - 13, 255 - 13) + 13  -->  result = clip(rint(sum * scale), 0, 0) + 0

Zero points, limits and scales are numbers inside a kernel. They change with each calibration, and no schedule depends
on them, so they are left out of what records are found by. What stays are shapes, dtypes, strides and the operations.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx


def workload_of(func: tirx.PrimFunc) -> tvm.IRModule:
    """Return the module, with one function ``main``, that stands for this kernel and all that differ in constants.

    It has no meaning of its own; its loops and blocks are those of ``func``, so a trace of one applies to the other.
    """
    constants = [(tirx.FloatImm, _zero_float), (tirx.IntImm, _zero_integer)]
    func = tvm_ffi.structural_map(func, constants)
    for name in list(func.attrs.keys()) if func.attrs else ():
        func = func.without_attr(name)
    return tvm.IRModule({"main": func.with_attr("global_symbol", "main")})


def hash_of(workload: tvm.IRModule) -> str:
    """Return the structural hash in the form in which MetaSchedule's tables hold it."""
    return str(tvm_ffi.structural_hash(workload) % 2**64)


def _zero_float(value: tirx.FloatImm) -> tirx.FloatImm:
    return tirx.FloatImm(str(value.ty.dtype), 0.0)


def _zero_integer(value: tirx.IntImm) -> tirx.IntImm:
    """Shapes and indices of Relax's kernels are of 64 bits; those and truth values stay."""
    dtype = str(value.ty.dtype)
    return value if dtype in ("int64", "bool") else tirx.IntImm(dtype, 0)
