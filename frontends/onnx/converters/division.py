"""Integer division and remainder where the divisor is an input.

    x / 0 = 0        x % 0 = 0        x / -1 = -x        x % -1 = 0

A processor's division ends the process for a divisor of 0, and for the least integer divided by -1. ONNX leaves the
first open; these are NumPy's results.
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import dtype_of, is_constant
from .elementwise import number
from .wrapping import Convert, Inputs, wrapped


def _may_trap(inputs: Inputs) -> bool:
    """Tell whether the divisor is a tensor of integers that nobody knows before the model runs."""
    tensors = all(isinstance(value.ty, relax.TensorType) for value in inputs[:2])
    return tensors and not is_constant(inputs[1]) and "int" in dtype_of(inputs[1])


def _with_sign_of(bb, remainder: relax.Expr, divisor: relax.Expr) -> relax.Expr:
    """Return the remainder of a division that rounds down, from that of one towards 0.

    TVM's own lowering of the first fails for vectors whose divisor is computed.
    """
    zero = number(0, divisor)
    signs = [bb.emit(relax.op.less(value, zero)) for value in (remainder, divisor)]
    differs = bb.emit(
        relax.op.logical_and(
            bb.emit(relax.op.not_equal(remainder, zero)), bb.emit(relax.op.logical_xor(*signs))
        )
    )
    added = bb.emit(relax.op.multiply(bb.emit(relax.op.astype(differs, dtype_of(divisor))), divisor))
    return relax.op.add(remainder, added)


def _guarded(base: type[stock.OnnxOpConverter], is_quotient: bool) -> type[stock.OnnxOpConverter]:
    """Return the converter with 1 in place of divisors that trap; a quotient is multiplied by what it should be.

    No ``where`` chooses a result: TVM's simplifier knows in its branches that no divisor is 0, and takes the guard
    away.
    """

    def guarded(convert: Convert, bb, inputs: Inputs, attr: dict[str, Any], params) -> relax.Expr:
        if not _may_trap(inputs):
            return convert(bb, inputs, attr, params)
        data, divisor = inputs[:2]
        dtype = dtype_of(divisor)

        def count(value: int) -> relax.Expr:
            """1 where the divisor has this value, else 0."""
            return bb.emit(relax.op.astype(bb.emit(relax.op.equal(divisor, number(value, divisor))), dtype))

        added = count(0)
        factor = bb.emit(relax.op.subtract(number(1, divisor), added))
        if dtype.startswith("int"):
            twice = bb.emit(relax.op.multiply(count(-1), number(2, divisor)))
            added = bb.emit(relax.op.add(added, twice))
            factor = bb.emit(relax.op.subtract(factor, twice))
        safe = bb.emit(relax.op.add(divisor, added))
        if is_quotient:
            result = convert(bb, stock.onnx_input([data, safe]), attr, params)
            return relax.op.multiply(bb.emit(result), factor)
        remainder = bb.emit(relax.op.mod(data, safe))
        return remainder if attr.get("fmod", 0) else _with_sign_of(bb, remainder, safe)

    return wrapped(base, guarded)


Div = _guarded(stock.Div, is_quotient=True)
Mod = _guarded(stock.Mod, is_quotient=False)
