"""Einsum of two operands as one product of matrices.

    bhid,bhjd->bhij   -->   matmul([b, h, i, d], [b, h, d, j])

An index is of the batch where both operands and the result have it, summed over where the result lacks it, and else a
row of the one or a column of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import shape_of

Inputs = list[relax.Expr | None]


class Einsum(stock.Einsum):
    """A sum of products by an equation: of two operands as a product, else as TVM's importer has it, by loops."""

    @classmethod
    def _impl_v12(cls, bb, inputs: Inputs, attr: dict[str, Any], params) -> relax.Expr:
        equation = attr["equation"].decode().replace(" ", "")
        if _is_product(equation, inputs):
            operands, result = equation.split("->")
            return _product(bb, inputs, operands.split(","), result)
        return super()._impl_v12(bb, inputs, attr, params)


def _is_product(equation: str, inputs: Inputs) -> bool:
    """Tell whether it is of two operands, with each index once in each, and sums over one that both have."""
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    if not arrow or "." in equation or len(terms) != 2 or len(inputs) != 2:
        return False
    if any(len(set(term)) < len(term) for term in (*terms, result)):
        return False
    if any(len(term) != len(shape_of(data)) for term, data in zip(terms, inputs, strict=True)):
        return False
    left, right = (
        dict(zip(term, shape_of(data), strict=True)) for term, data in zip(terms, inputs, strict=True)
    )
    common = left.keys() & right.keys()
    # An index that one operand alone has and the result lacks would be a sum of its own.
    is_used = left.keys() ^ right.keys() <= set(result) <= left.keys() | right.keys()
    return is_used and bool(common - set(result)) and all(left[index] == right[index] for index in common)


def _product(bb: relax.BlockBuilder, inputs: Inputs, terms: Sequence[str], result: str) -> relax.Expr:
    left, right = terms
    extents = dict(zip(left + right, shape_of(inputs[0]) + shape_of(inputs[1]), strict=True))
    batch = "".join(index for index in result if index in left and index in right)
    summed = "".join(index for index in left if index not in result)
    rows, columns = (
        "".join(index for index in result if index in own and index not in other)
        for own, other in ((left, right), (right, left))
    )

    def size(indices: str) -> int:
        return math.prod(extents[index] for index in indices)

    def arranged(data: relax.Expr, term: str, wanted: str, shape: Sequence[int]) -> relax.Expr:
        moved = bb.emit(relax.op.permute_dims(data, [term.index(index) for index in wanted]))
        return bb.emit(relax.op.reshape(moved, shape))

    lead = [extents[index] for index in batch]
    # Without a batch the second operand is one matrix, a weight where it is constant.
    apart = [size(rows)] if batch else [extents[index] for index in rows] or [1]
    product = relax.op.matmul(
        arranged(inputs[0], left, batch + rows + summed, [*lead, *apart, size(summed)]),
        arranged(inputs[1], right, batch + summed + columns, [*lead, size(summed), size(columns)]),
    )
    own = batch + rows + columns
    whole = bb.emit(relax.op.reshape(bb.emit(product), [extents[index] for index in own]))
    return relax.op.permute_dims(whole, [own.index(index) for index in result])
