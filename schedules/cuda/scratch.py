"""Memory that the launches of one kernel leave to each other is planned with that between kernels.

    y = call_tir(kernel, x, out=Y)                    -->  y, _ = call_tir(kernel, x, out=(Y, S))
    kernel(x, y) { s = alloc(S); f(x, s); g(s, y) }        kernel(x, y, s) { f(x, s); g(s, y) }

TVM would take it from a pool of the calling thread in each run. Planned, it shares memory with other values, and stays
where it is for as long as the virtual machine lives, which a captured graph relies on.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax, tirx

from ...passes.hub.graph import op_name, rebuild


def plan_scratch(mod: tvm.IRModule) -> tvm.IRModule:
    """Return a module of scheduled kernels in which none has memory of its own."""
    lifted: dict[str, tuple[tirx.PrimFunc, list[tirx.Buffer]]] = {}
    others: dict[tvm.ir.GlobalVar, tvm.ir.BaseFunc] = {}
    for var, func in mod.functions.items():
        kernel, buffers = _lifted(func) if isinstance(func, tirx.PrimFunc) else (func, [])
        if buffers:  # it has another type now, and so another variable of the same name
            lifted[var.name_hint] = kernel, buffers
        else:
            others[var] = func

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if op_name(value) != "relax.call_tir" or value.args[0].name_hint not in lifted:
            return value
        (old,) = value.ty_args
        func, buffers = lifted[value.args[0].name_hint]
        kernel = builder.add_func(func.without_attr("global_symbol"), value.args[0].name_hint)
        own = [_type_of(buffer) for buffer in buffers]
        is_tuple = isinstance(old, relax.TupleType)
        results = list(old.fields) if is_tuple else [old]
        call = relax.Call(
            value.op,
            [kernel, *value.args[1:]],
            value.attrs,
            [relax.TupleType([*results, *own])],
            span=value.span,
        )
        made = builder.emit(call)
        items = [builder.emit(relax.TupleGetItem(made, index)) for index in range(len(results))]
        return relax.Tuple(items) if is_tuple else items[0]

    return rebuild(tvm.IRModule(others, attrs=mod.attrs), rewrite) if lifted else mod


def _lifted(func: tirx.PrimFunc) -> tuple[tirx.PrimFunc, list[tirx.Buffer]]:
    """Return a kernel with its memory as parameters behind the others, and that."""
    buffers: list[tirx.Buffer] = []

    def lift(alloc: tirx.AllocBuffer) -> tirx.Stmt:
        if str(alloc.buffer.scope()) != "global":
            return alloc
        buffers.append(alloc.buffer)
        return tirx.Evaluate(0)

    body = tvm_ffi.structural_map(func.body, [(tirx.AllocBuffer, lift)])
    if not buffers:
        return func, []
    return tirx.PrimFunc([*func.params, *buffers], body, func.ret_type, func.attrs, func.span), buffers


def _type_of(buffer: tirx.Buffer) -> relax.TensorType:
    return relax.TensorType([int(extent) for extent in buffer.shape], str(buffer.dtype))
