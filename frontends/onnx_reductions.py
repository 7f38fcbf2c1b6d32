"""ONNX's reductions of dtypes that TVM's converters do not keep.

ReduceMax(bool)              -->  cast to int8 and back: TIR has no least boolean to start from
ReduceMean(int32 constant)   -->  a constant of int32; NumPy, which folds it, gives another dtype
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ..passes.graph import constant, dtype_of, is_constant, to_numpy

NAMES = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def _keeping_dtype(converter: type[stock.OnnxOpConverter]) -> type[stock.OnnxOpConverter]:
    class Reduction(converter):
        @classmethod
        def get_converter(cls, opset: int):
            convert = super().get_converter(opset)

            def kept(bb, inputs: list[relax.Expr | None], attr: dict[str, Any], params) -> relax.Expr:
                dtype = dtype_of(inputs[0])
                if dtype == "bool":
                    wide = bb.normalize(relax.op.astype(inputs[0], "int8"))
                    inputs = stock.onnx_input([wide, *inputs[1:]])
                result = bb.normalize(convert(bb, inputs, attr, params))
                if dtype_of(result) == dtype:
                    return result
                if is_constant(result):
                    return constant(to_numpy(result).astype(dtype))
                return relax.op.astype(result, dtype)

            return kept

    return Reduction


REDUCTIONS = {f"Reduce{name}": _keeping_dtype(stock._get_convert_map()[f"Reduce{name}"]) for name in NAMES}
"""Operator to its converter."""
