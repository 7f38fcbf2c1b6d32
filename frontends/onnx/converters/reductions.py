"""ONNX's reductions, of dtypes that TVM's converters do not keep, and over no axis.

ReduceMax(bool)              -->  cast to int8 and back: TIR has no least boolean to start from
ReduceL1(float16)            -->  in float32 and back: sums of float16 stop growing at 2048
ReduceMean(int32 constant)   -->  a constant of int32; NumPy, which folds it, gives another dtype
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, to_numpy

OVER_NO_AXIS: dict[str, Callable[[relax.Expr], relax.Expr]] = {
    "L1": relax.op.abs,
    "L2": relax.op.abs,
    "LogSum": relax.op.log,
    "SumSquare": relax.op.square,
}
"""What a reduction does beside the sum; the others do nothing."""

NAMES = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def _reduction(name: str) -> type[stock.OnnxOpConverter]:
    """Return the converter with its sums in a wider dtype, and its result in the dtype of the input."""
    converter: Any = stock._get_convert_map()[f"Reduce{name}"]

    class Reduction(converter):
        @classmethod
        def get_converter(cls, opset: int):
            convert = super().get_converter(opset)

            def kept(bb, inputs: list[relax.Expr | None], attr: dict[str, Any], params) -> relax.Expr:
                dtype = dtype_of(inputs[0])
                if (
                    name in OVER_NO_AXIS
                    and attr.get("noop_with_empty_axes", 0)
                    and _has_no_axes(inputs, attr)
                ):
                    return OVER_NO_AXIS[name](inputs[0])
                result = bb.normalize(
                    convert(bb, _with_first(bb, inputs, _inside(name, dtype)), attr, params)
                )
                if dtype_of(result) == dtype:
                    return result
                return relax.op.astype(result, dtype)

            return kept

    return Reduction


def _inside(name: str, dtype: str) -> str:
    """Return the dtype in which a reduction of this name works."""
    if dtype == "bool":
        return "int8"
    if name == "Mean" and "int" in dtype:
        return "float64"
    return "float32" if dtype == "float16" and name not in ("Max", "Min") else dtype


def _with_first(bb, inputs: list[relax.Expr | None], dtype: str) -> list[relax.Expr | None]:
    """Return the inputs, the first in another dtype."""
    first = inputs[0]
    if dtype_of(first) == dtype:
        return inputs
    if is_constant(first):
        return stock.onnx_input([constant(to_numpy(first).astype(dtype)), *inputs[1:]])
    return stock.onnx_input([bb.normalize(relax.op.astype(first, dtype)), *inputs[1:]])


def _has_no_axes(inputs: list[relax.Expr | None], attr: dict[str, Any]) -> bool:
    axes = inputs[1] if len(inputs) > 1 else None
    return not attr.get("axes") and (axes is None or (is_constant(axes) and not to_numpy(axes).size))


REDUCTIONS = {f"Reduce{name}": _reduction(name) for name in NAMES}
"""Operator to its converter."""
