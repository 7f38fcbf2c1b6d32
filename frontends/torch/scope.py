"""What converters of torch's operators are written with.

    def relu(s, x):                          def add(s, a, b, alpha=1):
        return s.onnx("Relu", x)                 return relax.op.add(*s.alike(a, b))

They are called with the operator's arguments in the order of its schema, defaults filled in: tensors as Relax
expressions, what else there is as Python's. They give a tensor, or a tuple of them, None where one is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ...passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ..onnx.converters.table import CONVERTERS
from .tensors import constant_of, dtype_name

OPSET = 20
"""Version of ONNX's operators that converters ask for."""


class Scope:
    """The operators written so far, and the node that is converted now."""

    def __init__(self, builder: relax.BlockBuilder):
        self.builder = builder
        self.node: fx.Node | None = None
        self._made: dict[tuple, relax.Expr] = {}
        self._constants: dict[int, tuple[torch.Tensor, relax.Expr]] = {}

    def emit(self, call: relax.Expr) -> relax.Expr:
        """Bind an expression to a variable; a constant stays one."""
        return call if is_constant(call) or isinstance(call, relax.Var) else self.builder.emit(call)

    def once(self, key: tuple, make: Callable[[], relax.Expr]) -> relax.Expr:
        """Return what ``make`` gives, bound; for an equal key the same variable."""
        if key not in self._made:
            self._made[key] = self.emit(make())
        return self._made[key]

    def onnx(self, op_type: str, *inputs: relax.Expr | None, **attributes: Any) -> relax.Expr:
        """Return what an operator of ONNX's standard gives, by the converter that ONNX files are imported by."""
        return self.builder.normalize(self._onnx(op_type, inputs, attributes, 1))

    def onnx_outputs(
        self, op_type: str, count: int, *inputs: relax.Expr | None, **attributes: Any
    ) -> list[relax.Expr]:
        """Return the first outputs of an operator that has several."""
        value = self._onnx(op_type, inputs, attributes, count)
        if isinstance(value, relax.Tuple):
            return [self.emit(field) for field in value.fields]
        whole = self.emit(value)
        return [self.emit(relax.TupleGetItem(whole, at)) for at in range(count)]

    def _onnx(
        self, op_type: str, inputs: Sequence[relax.Expr | None], attributes: Mapping[str, Any], count: int
    ) -> relax.Expr:
        attrs: dict[str, Any] = {
            key: value.encode() if isinstance(value, str) else value for key, value in attributes.items()
        }
        attrs["tvm_custom"] = {"name": "", "num_outputs": count}
        convert = CONVERTERS[op_type].get_converter(OPSET)
        return convert(self.builder, stock.onnx_input([*inputs]), attrs, [{}, {}])

    def tensor(self, value: torch.Tensor | relax.Expr) -> relax.Expr:
        """Return a tensor as an expression; one that several operators read is one constant."""
        if not isinstance(value, torch.Tensor):
            return value
        known = self._constants.get(id(value))
        if known is None:
            known = self._constants[id(value)] = value, constant_of(value)
        return known[1]

    def number(self, value: float, dtype: str) -> relax.Expr:
        """Return a number as a constant without axes."""
        return constant(np.asarray(value).astype(dtype))

    def cast(self, value: relax.Expr | float, dtype: str) -> relax.Expr:
        """Return a tensor, or a number, in a dtype."""
        if not isinstance(value, relax.Expr):
            return self.number(value, dtype)
        if dtype_of(value) == dtype:
            return value
        if is_constant(value) and shape_of(value) == ():
            return constant(to_numpy(value).astype(dtype))
        return self.emit(relax.op.astype(value, dtype))

    @property
    def dtype(self) -> str:
        """Dtype of what the node gives, the first of several."""
        value = self.node.meta["val"]
        return dtype_name((value[0] if isinstance(value, tuple | list) else value).dtype)

    def common_dtype(self) -> str:
        """Return the dtype that torch computes the node's first two operands in."""
        operands = [_example(value) for value in self.node.args[:2]]
        if len(operands) == 1:
            return dtype_name(operands[0].dtype)
        return dtype_name(torch.result_type(*operands))

    def alike(self, *values: relax.Expr | float, dtype: str = "") -> list[relax.Expr]:
        """Return the operands in the dtype that torch computes in, or in the one that is given."""
        dtype = dtype or self.common_dtype()
        return [self.cast(value, dtype) for value in values]

    def reshape(self, value: relax.Expr, shape: Sequence[int]) -> relax.Expr:
        """Return a tensor in another shape; of a constant the same memory."""
        if tuple(shape) == shape_of(value):
            return value
        return self.emit(relax.op.reshape(value, tuple(int(extent) for extent in shape)))

    def permute(self, value: relax.Expr, axes: Sequence[int]) -> relax.Expr:
        """Return a tensor with its axes in another order; of a constant one that is laid out so, at once.

        Left to ``FoldConstants``, all weights of a model would be there several times for a while.
        """
        if list(axes) == list(range(len(axes))):
            return value
        if is_constant(value) and dtype_of(value) != "bool":
            return constant_of(torch.from_dlpack(value.value).permute(*axes))
        return self.emit(relax.op.permute_dims(value, list(axes)))

    def axis(self, value: relax.Expr, axis: int) -> int:
        """Return an axis as a number that is not negative; a scalar has one axis, as torch has it."""
        return axis % max(len(shape_of(value)), 1)


def _example(operand: Any) -> Any:
    """Return what stands for an operand where dtypes are decided: a tensor without values, or a number of its kind."""
    value = operand.meta["val"] if isinstance(operand, fx.Node) else operand
    kinds = {torch.SymInt: 1, torch.SymFloat: 1.0, torch.SymBool: True}
    return kinds.get(type(value), value)
