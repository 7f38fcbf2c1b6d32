"""Functions of floats --> those of CUDA's library that are exact to a few last bits.

exp(x)                -->  expf(x), where TVM has __expf(x), whose error grows with x
exp(half), round(..)  -->  half(expf(float(x))): CUDA lacks many functions of halves, and its others are less exact
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call

from ...targets.cuda.calls import device_value

FAST = ("cos", "exp", "exp10", "log", "log2", "log10", "pow", "sin")
"""Functions of float32 that TVM makes fast ones of."""

FUNCTIONS = (
    *FAST, "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cosh", "erf", "exp2",
    "floor", "fmod", "hypot", "log1p", "nearbyint", "round", "rsqrt", "sigmoid", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Functions of halves that are computed in float32."""

SHORT = ("uint8", "uint16")
"""Integers whose bits CUDA does not count."""


@tirx.transform.prim_func_pass(opt_level=0, name="tvmq.CudaFunctions")
def cuda_functions(func: tirx.PrimFunc, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tirx.PrimFunc:
    """Let a kernel call what CUDA has."""
    return func.with_body(tvm_ffi.structural_map(func.body, [(Call, _own)]))


def _own(call: Call) -> tirx.Expr:
    name = str(getattr(call.op, "name", "")).rpartition(".")[2]
    dtype = str(getattr(call.ty, "dtype", ""))
    if name == "popcount" and dtype in SHORT:
        return tirx.Cast(dtype, device_value("int32", "popcount", tirx.Cast("uint32", call.args[0])))
    if name not in FUNCTIONS or dtype not in ("float16", "float32"):
        return call
    if dtype == "float16":
        wide = Call(call.op, [tirx.Cast("float32", each) for each in call.args], ret_ty="float32")
        return tirx.Cast("float16", _own(wide))
    return tirx.call_pure_extern("float32", f"{name}f", *call.args) if name in FAST else call
