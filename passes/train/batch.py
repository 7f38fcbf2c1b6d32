"""A module of one sample --> of several at a time.

    main(x [1, C, H, W])      -->     main(x [n, C, H, W])

Every value is computed again from inputs of n samples; shapes that the module states itself, of a reshape, say, grow in
front. That is right wherever the samples' axis comes first in memory, and nothing is computed along it. Where shapes no
longer fit (``network.fitting_batch``), or values say so (``apart``), one sample is taken at a time.
"""

from __future__ import annotations

import math

from tvm import IRModule, relax

from ..hub.graph import op_name, rebuild, shape_of

_STATES_SHAPE = ("relax.reshape", "relax.broadcast_to")


def batch_of(mod: IRModule) -> int | None:
    """Return how many samples the module takes at a time; None where its inputs do not agree."""
    leads = {shape_of(param)[0] if shape_of(param) else None for param in mod["main"].params}
    return leads.pop() if len(leads) == 1 else None


def batched(mod: IRModule, count: int) -> IRModule:
    """Return the module with inputs of ``count`` times the samples; raises what TVM does where shapes do not fit."""
    own = batch_of(mod)
    params = [
        relax.Var(param.name, relax.TensorType((count * own, *shape_of(param)[1:]), param.ty.dtype))
        for param in mod["main"].params
    ]

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.Call):
            if op_name(value) in _STATES_SHAPE:
                shape, data = shape_of(var), shape_of(value.args[0])
                if op_name(value) == "relax.reshape" and math.prod(shape) != math.prod(data):
                    shape = (shape[0] * count, *shape[1:])
                elif op_name(value) == "relax.broadcast_to" and data and data[0] == count * shape[0]:
                    shape = (data[0], *shape[1:])
                make = relax.op.reshape if op_name(value) == "relax.reshape" else relax.op.broadcast_to
                return relax.Call(
                    value.op, make(value.args[0], shape).args, value.attrs, value.ty_args, span=value.span
                )
            # Its type is found anew.
            return relax.Call(value.op, value.args, value.attrs, value.ty_args, span=value.span)
        return value

    return rebuild(mod, rewrite, params=params)
