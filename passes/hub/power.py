"""base ** exponent of floats, broadcast: the function itself.

TVM's own definition says on standard error that it dislikes each constant exponent of 3 and more.
"""

from __future__ import annotations

from tvm import relax, te, tirx, topi
from tvm.ir import Op


def power(base: te.Tensor, exponent: te.Tensor, shape: tuple[int, ...], dtype: str) -> te.Tensor:
    """Return ``base ** exponent`` of a shape to which both broadcast."""
    base, exponent = topi.broadcast_to(base, shape), topi.broadcast_to(exponent, shape)

    def element(*axes: tirx.Expr) -> tirx.Expr:
        return tirx.call_intrin(dtype, "tirx.pow", base(*axes), exponent(*axes))

    return te.compute(shape, element, name="power", tag="broadcast")


def legalize_power(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Return the call of the function, for ``relax.transform.LegalizeOps``; integers are left to TVM."""
    shape, dtype = tuple(int(extent) for extent in call.ty.shape), str(call.ty.dtype)
    if not dtype.startswith("float"):
        return Op.get("relax.power").get_attr("FLegalize")(builder, call)
    return builder.call_te(power, *call.args, shape, dtype, primfunc_name_hint="power")
