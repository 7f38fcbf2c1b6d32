"""Where the largest or smallest number of a row is, as two reductions that the threads of a GPU can share out.

    most = max(row)    argmax(row) = min(i for i where row[i] == most), or the last index where none is (NaN)

TVM's own is one reduction of pairs, which goes through a row number by number.
"""

from __future__ import annotations

import math

from tvm import relax, te, tirx

from ..passes.hub.graph import dtype_of, op_name, shape_of

WIDE = {
    **dict.fromkeys(("float32", "float16"), "float32"),
    **dict.fromkeys(("int32", "int16", "int8", "uint16", "uint8"), "int32"),
}
"""Dtype to that of its largest number."""


def arg_reduction(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Legalize ``relax.argmax`` and ``relax.argmin``."""
    from tvm.ir import Op

    shape, dtype, name = shape_of(call.args[0]), dtype_of(call.args[0]), op_name(call)
    if dtype not in WIDE or 0 in shape:
        return Op.get(name).get_attr("FLegalize")(builder, call)
    axes = range(len(shape)) if call.attrs.axis is None else [int(call.attrs.axis) % len(shape)]
    kept = [axis for axis in range(len(shape)) if call.attrs.keepdims or axis not in axes]
    length, wide = math.prod(shape[axis] for axis in axes), WIDE[dtype]
    is_largest = name == "relax.argmax"

    def define(data: te.Tensor) -> te.Tensor:
        extents = [1 if axis in axes else shape[axis] for axis in kept]

        def steps() -> list[tirx.IterVar]:
            return [te.reduce_axis((0, shape[axis]), "k") for axis in axes]

        def number(at, taps) -> tirx.Expr:
            place = {**dict(zip(kept, at, strict=True)), **dict(zip(axes, taps, strict=True))}
            return data(*(place[axis] for axis in range(len(shape)))).astype(wide)

        first, second = steps(), steps()
        most = te.compute(extents, lambda *at: _most(number(at, first), first, is_largest), name="most")

        def index(*at) -> tirx.Expr:
            flat: tirx.Expr = tirx.const(0, "int32")
            for tap, axis in zip(second, axes, strict=True):
                flat = flat * shape[axis] + tap.var.astype("int32")
            found = number(at, second) == most(*at)
            return te.min(tirx.if_then_else(found, flat, tirx.const(length - 1, "int32")), axis=second)

        where = te.compute(extents, index, name="where")
        return te.compute(extents, lambda *at: where(*at).astype("int64"), name=name.split(".")[-1])

    return builder.call_te(define, call.args[0], primfunc_name_hint=name.split(".")[-1])


def _most(number: tirx.Expr, axes: list[tirx.IterVar], is_largest: bool) -> tirx.Expr:
    if str(number.ty.dtype) != "float32":
        return (te.max if is_largest else te.min)(number, axis=axes)
    # TVM's own starts from the largest number, which a row of infinities does not reach.
    start = -math.inf if is_largest else math.inf
    combine = tirx.max if is_largest else tirx.min
    return te.comm_reducer(lambda x, y: combine(x, y), lambda dtype: tirx.const(start, dtype))(
        number, axis=axes
    )
