"""``attr("pragma_scope"): loop`` --> ``loop``, in kernels that TVM writes itself."""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import tirx


def without_scopes(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the function without the pragmas of TVM's own loops that LLVM's code generator only complains about."""

    def body_of(statement: tirx.AttrStmt) -> tirx.Stmt:
        return statement.body if statement.attr_key == "pragma_scope" else statement

    return tvm_ffi.structural_map(func, [(tirx.AttrStmt, body_of)])


def all_without_scopes(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module with each of its kernels so."""
    return tvm.IRModule(
        {
            var: without_scopes(func) if isinstance(func, tirx.PrimFunc) else func
            for var, func in mod.functions_items()
        },
        attrs=mod.attrs,
    )
