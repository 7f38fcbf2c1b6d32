"""Constants without elements --> tensors that are allocated.

    concat(x, constant[0, 4])  -->  concat(x, alloc_tensor(shape=(0, 4)))

TVM writes such a constant into an executable and cannot read it back. There is no element to initialise.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from .graph import Constant, dtype_of, shape_of


@mutator
class _Allocator(PyExprMutator):
    def visit_generic_const_(self, value: Constant) -> relax.Expr:
        if not isinstance(value.ty, relax.TensorType) or 0 not in shape_of(value):
            return value
        shape = relax.ShapeExpr(shape_of(value))
        return self.builder_.emit(relax.op.builtin.alloc_tensor(shape, dtype_of(value), 0))


def allocate_empty(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module, its operators legalized, without constants of no elements in ``main``."""
    allocator = _Allocator(mod)
    for var, func in mod.functions_items():
        if isinstance(func, relax.Function):
            allocator.builder_.update_func(var, allocator.visit_expr(func))
    return allocator.builder_.get()
