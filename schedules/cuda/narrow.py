"""Indices of 64 bits --> of 32: Relax counts in the former, which take a GPU two registers and several instructions.

data[int64(i) // 3]   -->  data[i32 // 3]
int64(1) <= int64(i)  -->  1 <= i32
int64(i) as a value   -->  Cast(int64, i32)
"""

from __future__ import annotations

from collections.abc import Mapping

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call, TensorLoad

WIDE = "int64"
LARGEST = 2**31 - 1
_BINARY = (tirx.Add, tirx.Sub, tirx.Mul, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max)
_COMPARISONS = (tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE)


class Narrowing:
    """Rewrites expressions with other variables and buffers.

    Parameters
    ----------
    variables : those of 64 bits, with one of 32 bits for each.
    buffers : what is read, with what is to be read.
    """

    def __init__(
        self, variables: Mapping[tirx.Var, tirx.Var], buffers: Mapping[tirx.Buffer, tirx.Buffer]
    ) -> None:
        self.variables, self.buffers = variables, buffers

    def __call__(self, part: tirx.Expr | tirx.Stmt) -> tirx.Expr | tirx.Stmt:
        """Return the expression or statement with narrow indices."""
        rules = [
            (TensorLoad, self._load),
            (_COMPARISONS, self._comparison),
            (tirx.Cast, self._cast),
            (tirx.BufferStore, self._store),
        ]
        return tvm_ffi.structural_map(tvm_ffi.structural_map(part, rules), [(tirx.Var, self._value)])

    def index(self, expr: tirx.Expr) -> tirx.Expr:
        """Return an index, in 32 bits where that can be told."""
        narrow = self._narrow(expr, True)
        return self(expr) if narrow is None else tvm_ffi.structural_map(narrow, [(tirx.Var, self._value)])

    def _value(self, var: tirx.Var) -> tirx.Expr:
        narrow = self.variables.get(var)
        return var if narrow is None else narrow if str(var.ty.dtype) != WIDE else tirx.Cast(WIDE, narrow)

    def _load(self, load: TensorLoad) -> tirx.Expr:
        source = self.buffers.get(load.source, load.source)
        return tirx.BufferLoad(source, [self._or_same(index) for index in load.indices])

    def _store(self, store: tirx.BufferStore) -> tirx.Stmt:
        target = self.buffers.get(store.buffer, store.buffer)
        return tirx.BufferStore(target, store.value, [self._or_same(index) for index in store.indices])

    def _or_same(self, index: tirx.Expr) -> tirx.Expr:
        narrow = self._narrow(index, True)
        return index if narrow is None else narrow

    def _comparison(self, expr: tirx.Expr) -> tirx.Expr:
        if str(expr.a.ty.dtype) != WIDE:
            return expr
        sides = [self._narrow(side, False) for side in (expr.a, expr.b)]
        return expr if _lacks(sides) else type(expr)(*sides)

    def _cast(self, cast: tirx.Cast) -> tirx.Expr:
        if str(cast.value.ty.dtype) != WIDE:
            return cast
        narrow = self._narrow(cast.value, False)
        return cast if narrow is None else tirx.Cast(str(cast.ty.dtype), narrow)

    def _narrow(self, expr: tirx.Expr, is_index: bool) -> tirx.Expr | None:
        """Return an expression of 64 bits in 32; None where it may not fit."""
        if str(expr.ty.dtype) != WIDE:
            return expr if str(expr.ty.dtype) == "int32" else None
        if isinstance(expr, tirx.IntImm):
            return tirx.IntImm("int32", int(expr)) if abs(int(expr)) <= LARGEST else None
        if isinstance(expr, tirx.Var):
            return self.variables.get(expr)
        if isinstance(expr, tirx.Cast):
            return tirx.Cast("int32", expr.value) if _fits(str(expr.value.ty.dtype)) else None
        if isinstance(expr, _BINARY):
            return self._rebuilt(expr, [expr.a, expr.b], is_index)
        if is_choice(expr):
            condition, *values = expr.args
            narrow = [self._narrow(value, is_index) for value in values]
            return None if _lacks(narrow) else tirx.if_then_else(condition, *narrow)
        if isinstance(expr, tirx.Select):
            narrow = [self._narrow(value, is_index) for value in (expr.true_value, expr.false_value)]
            return None if _lacks(narrow) else tirx.Select(expr.condition, *narrow)
        if isinstance(expr, TensorLoad) and is_index:
            return tirx.Cast("int32", expr)
        return None

    def _rebuilt(self, expr: tirx.Expr, parts: list[tirx.Expr], is_index: bool) -> tirx.Expr | None:
        narrow = [self._narrow(part, is_index) for part in parts]
        return None if _lacks(narrow) else type(expr)(*narrow)


def is_choice(expr: tirx.Expr) -> bool:
    """Tell whether an expression is an ``if_then_else``."""
    return isinstance(expr, Call) and str(getattr(expr.op, "name", "")) == "prim.if_then_else"


def _lacks(parts: list[tirx.Expr | None]) -> bool:
    return any(part is None for part in parts)


def _fits(dtype: str) -> bool:
    return dtype in ("int32", "int16", "int8", "uint16", "uint8", "bool")


def narrow_buffer(buffer: tirx.Buffer, scope: str = "global") -> tirx.Buffer:
    """Return a buffer like another, whose extents have 32 bits, and whose name C++ takes: of an input it can be any."""
    shape, name = [int(extent) for extent in buffer.shape], str(buffer.name)
    return tirx.decl_buffer(
        shape, str(buffer.dtype), name if name.isidentifier() else f"_{name}", scope=scope
    )
