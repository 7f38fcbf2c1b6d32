"""ONNX's reductions of dtypes that TVM's converters do not keep.

ReduceMax(bool)              -->  cast to int8 and back: TIR has no least boolean to start from
ReduceMean(int32 constant)   -->  a constant of int32; NumPy, which folds it, gives another dtype
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ..passes.hub.graph import constant, dtype_of, is_constant, to_numpy

NAMES = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def _keeping_dtype(converter: type[stock.OnnxOpConverter], of_integers: str) -> type[stock.OnnxOpConverter]:
    """Return the converter with booleans in int8 and integers in a dtype, and its result in that of the input."""

    class Reduction(converter):
        @classmethod
        def get_converter(cls, opset: int):
            convert = super().get_converter(opset)

            def kept(bb, inputs: list[relax.Expr | None], attr: dict[str, Any], params) -> relax.Expr:
                dtype = dtype_of(inputs[0])
                wide = "int8" if dtype == "bool" else of_integers if "int" in dtype else ""
                result = bb.normalize(convert(bb, _with_first(bb, inputs, wide or dtype), attr, params))
                if dtype_of(result) == dtype:
                    return result
                return relax.op.astype(result, dtype)

            return kept

    return Reduction


def _with_first(bb, inputs: list[relax.Expr | None], dtype: str) -> list[relax.Expr | None]:
    """Return the inputs, the first in another dtype."""
    first = inputs[0]
    if dtype_of(first) == dtype:
        return inputs
    if is_constant(first):
        return stock.onnx_input([constant(to_numpy(first).astype(dtype)), *inputs[1:]])
    return stock.onnx_input([bb.normalize(relax.op.astype(first, dtype)), *inputs[1:]])


REDUCTIONS = {
    f"Reduce{name}": _keeping_dtype(
        stock._get_convert_map()[f"Reduce{name}"], "float64" if name == "Mean" else ""
    )
    for name in NAMES
}
"""Operator to its converter."""
