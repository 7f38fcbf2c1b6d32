"""Rounding for targets that have no instruction to round a vector: by an addition.

    lrint(x)  -->  bits(min(max(x, -2^23), 2^23) + 1.5 * 2^23) - bits(1.5 * 2^23)

From 2^23 to 2^24 a float32 has no bits behind the point, so the addition rounds, half to even, and the bits of the sum
count integers. That is exact for |x| up to 2^22. Beyond, the bits still grow with x, and are beyond 2^22 as well, which
is where ``passes.realize.compute.epilogue`` limits every number that it rounds. The limits before the addition keep
the sum positive, and LLVM from making one operation of it and the multiplication before them.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx
from tvm.target import codegen

_LIMIT = 2.0**23
_SHIFT = 1.5 * 2.0**23
_SHIFT_BITS = 0x4B400000
"""Those of ``_SHIFT``."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.RoundByAdding")
def round_by_adding(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Rewrite every rounding of a float32 in the module's kernels."""
    mod = mod.clone()
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            body = tvm_ffi.structural_map(func.body, [(tvm.ir.Call, _rounded)])
            mod.update_func(var, func.with_body(body))
    return mod


def _rounded(call: tvm.ir.Call) -> tirx.Expr:
    if getattr(call.op, "name", "") != "tirx.call_llvm_pure_intrin":
        return call
    intrinsic, *operands = call.args
    if int(intrinsic) != codegen.llvm_lookup_intrinsic_id("llvm.lrint") or str(call.ty) != "int32":
        return call
    (value,) = operands
    value = tirx.min(tirx.max(value, tirx.const(-_LIMIT, "float32")), tirx.const(_LIMIT, "float32"))
    return tirx.reinterpret("int32", value + tirx.const(_SHIFT, "float32")) - tirx.const(_SHIFT_BITS, "int32")
