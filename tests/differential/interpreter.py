"""A legalized Relax module evaluated in NumPy: what its kernels are defined to compute, without schedule or compiler.

    C[i] = sum over k of A[i, k] * B[k]    -->    C = (A[i, k] * B[k]).sum(k), all i and k at once

Sums of integers are exact in any order, and other arithmetic is that of IEEE in the dtype that the kernel names, so the
integers of a compiled module must be these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.target import codegen

from tvmq.passes.hub.graph import bindings_of, is_constant, op_name, to_numpy


def evaluate(mod: tvm.IRModule, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the results of ``main``, whose calls are all ``call_tir``."""
    values: dict[relax.Var, Any] = {param: inputs[param.name] for param in mod["main"].params}

    def value(expr: relax.Expr) -> Any:
        if is_constant(expr):
            return to_numpy(expr)
        if isinstance(expr, relax.Tuple):
            return tuple(value(field) for field in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            return value(expr.tuple_value)[expr.index]
        if op_name(expr) == "relax.call_tir":
            return _call(mod[expr.args[0]], [value(field) for field in expr.args[1].fields], expr.ty_args[0])
        if isinstance(expr, relax.Var):
            return values[expr]
        raise NotImplementedError(f"{op_name(expr) or type(expr).__name__} has no evaluation in NumPy")

    for binding in bindings_of(mod):
        values[binding.var] = value(binding.value)
    result = value(mod["main"].body.body)
    return list(result) if isinstance(result, tuple) else [result]


def _call(func: tirx.PrimFunc, arguments: list[np.ndarray], ty: tvm.ir.Type) -> Any:
    outputs = list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
    results = [np.empty([int(extent) for extent in out.shape], str(out.dtype)) for out in outputs]
    _Function(dict(zip(func.params, [*arguments, *results], strict=True))).run(func.body)
    return tuple(results) if isinstance(ty, relax.TupleType) else results[0]


def _dtype(expr: tirx.Expr) -> np.dtype:
    return np.dtype(str(expr.ty))


def _saturated_sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    bounds = np.iinfo(left.dtype)
    return np.clip(left.astype(np.int64) + right, bounds.min, bounds.max).astype(left.dtype)


def _rounded(values: np.ndarray) -> np.ndarray:
    """As ``tvmq_round_to_int`` of ``device.cuh``."""
    limits = np.iinfo(np.int32)
    return np.clip(np.rint(np.nan_to_num(values.astype(np.float64))), limits.min, limits.max).astype(np.int32)


OPERATORS: dict[type, Callable[..., Any]] = {
    tirx.Add: np.add,
    tirx.Sub: np.subtract,
    tirx.Mul: np.multiply,
    tirx.Div: np.divide,
    tirx.FloorDiv: np.floor_divide,
    tirx.FloorMod: np.mod,
    tirx.Min: np.minimum,
    tirx.Max: np.maximum,
    tirx.EQ: np.equal,
    tirx.NE: np.not_equal,
    tirx.LT: np.less,
    tirx.LE: np.less_equal,
    tirx.GT: np.greater,
    tirx.GE: np.greater_equal,
    tirx.And: np.logical_and,
    tirx.Or: np.logical_or,
}
"""Node of two operands to its function."""

BITWISE = {
    "LShift": np.left_shift,
    "RShift": np.right_shift,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}
"""The same of nodes that have a class of no public name."""

ONES = np.array([number.bit_count() for number in range(256)], np.uint8)
"""Of each byte, how many bits are 1."""


def _ones(words: np.ndarray) -> np.ndarray:
    """As ``tvmq_popcount``: of words of 32 bits."""
    return sum(ONES[words.astype(np.uint32) >> shift & 255].astype(np.int32) for shift in (0, 8, 16, 24))


INTRINSICS: dict[str, Callable[..., Any]] = {
    "if_then_else": np.where,
    "shift_right": np.right_shift,
    "shift_left": np.left_shift,
    "bitwise_and": np.bitwise_and,
    "round": np.rint,
    "exp": np.exp,
    "floor": np.floor,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "popcount": lambda bytes_: ONES[bytes_],
    "likely": lambda condition: condition,
    "llvm.lrint": lambda x: np.rint(x).astype(np.int32),
    "llvm.sadd.sat": _saturated_sum,
    "tvmq_round_to_int": _rounded,
    "tvmq_popcount": _ones,
}
"""Intrinsic to its function."""

LLVM_NAMES = {codegen.llvm_lookup_intrinsic_id(name): name for name in INTRINSICS if name.startswith("llvm.")}

REDUCTIONS: dict[type, Callable[..., np.ndarray]] = {tirx.Add: np.sum, tirx.Max: np.max, tirx.Min: np.min}


class _Function:
    """One call of a function: its statements in order, each block at all its positions at once."""

    def __init__(self, arrays: dict[tvm.ir.Var, np.ndarray]) -> None:
        self.arrays = arrays

    def run(self, stmt: tirx.Stmt) -> None:
        kind = type(stmt).__name__
        if kind == "SeqStmt":
            for part in stmt.seq:
                self.run(part)
        elif kind == "For":
            self.run(stmt.body)
        elif kind == "SBlockRealize":
            for buffer in stmt.block.alloc_buffers:
                shape = [int(extent) for extent in buffer.shape]
                self.arrays[buffer] = np.empty(shape, str(buffer.dtype))
            if stmt.block.iter_vars:
                self._block(stmt)
            else:
                self.run(stmt.block.body)
        else:
            raise NotImplementedError(f"{kind} has no evaluation in NumPy")

    def _block(self, realize: tirx.Stmt) -> None:
        block = realize.block
        extents = [int(var.dom.extent) for var in block.iter_vars]
        grid = {
            var.var: at for var, at in zip(block.iter_vars, np.ogrid[tuple(map(slice, extents))], strict=True)
        }
        is_reduced = [var.iter_type == tirx.IterVar.CommReduce for var in block.iter_vars]
        store = block.body
        if type(store).__name__ != "BufferStore":
            raise NotImplementedError(f"a block of {type(store).__name__} has no evaluation in NumPy")
        place = tuple(np.asarray(self._value(index, grid)) for index in store.indices)
        target = self.arrays[store.buffer]
        if block.init is None:
            spread = np.broadcast_to(self._value(store.value, grid), extents)
            target[np.broadcast_arrays(*place) if len(place) > 1 else place] = _like(spread, place)
            return
        kind = type(store.value)
        operands = [store.value.a, store.value.b]
        (rest,) = [
            one
            for one in operands
            if not (type(one).__name__ == "TensorLoad" and one.source.same_as(store.buffer))
        ]
        wide = np.broadcast_to(self._value(rest, grid), extents)
        axes = tuple(axis for axis, reduced in enumerate(is_reduced) if reduced)
        dtype = np.int64 if np.issubdtype(wide.dtype, np.integer) and kind is tirx.Add else wide.dtype
        reduced = REDUCTIONS[kind](wide.astype(dtype), axis=axes, keepdims=True)
        start = self._value(block.init.value, grid)
        total = OPERATORS[kind](np.broadcast_to(start, reduced.shape).astype(dtype), reduced)
        target[np.broadcast_arrays(*place) if len(place) > 1 else place] = _like(total, place).astype(
            target.dtype
        )

    def _value(self, expr: Any, grid: Mapping[tirx.Var, np.ndarray]) -> Any:
        kind = type(expr)
        if kind in OPERATORS:
            left, right = self._value(expr.a, grid), self._value(expr.b, grid)
            with np.errstate(all="ignore"):
                return np.asarray(OPERATORS[kind](left, right))
        if isinstance(expr, tirx.IntImm | tirx.FloatImm):
            return _dtype(expr).type(expr.value)
        if isinstance(expr, tirx.Cast):
            with np.errstate(all="ignore"):
                return np.asarray(self._value(expr.value, grid)).astype(_dtype(expr))
        if kind.__name__ in BITWISE:
            return BITWISE[kind.__name__](self._value(expr.a, grid), self._value(expr.b, grid))
        if isinstance(expr, tirx.Select):
            return np.where(
                *(self._value(part, grid) for part in (expr.condition, expr.true_value, expr.false_value))
            )
        if isinstance(expr, tirx.Not):
            return np.logical_not(self._value(expr.a, grid))
        if type(expr).__name__ == "TensorLoad":
            array = self.arrays[expr.source]
            # A load that a condition guards may lie outside; its value is not used.
            indices = [
                np.clip(self._value(index, grid), 0, extent - 1)
                for index, extent in zip(expr.indices, array.shape, strict=True)
            ]
            return array[tuple(indices)]
        if isinstance(expr, tvm.ir.Call):
            name, args = expr.op.name.split(".")[-1], list(expr.args)
            if name == "call_llvm_pure_intrin":
                name, args = LLVM_NAMES.get(int(args[0].value), "an intrinsic of LLVM"), args[1:]
            if name == "call_pure_extern":
                name, args = str(args[0].value), args[1:]
            if name == "reinterpret":
                return np.asarray(self._value(args[0], grid)).view(_dtype(expr))
            if name not in INTRINSICS:
                raise NotImplementedError(f"{name} has no evaluation in NumPy")
            with np.errstate(all="ignore"):
                return INTRINSICS[name](*(self._value(argument, grid) for argument in args))
        if expr in grid:
            return grid[expr]
        raise NotImplementedError(f"{kind.__name__} has no evaluation in NumPy")


def _like(values: np.ndarray, place: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the values in the shape of the places that they go to."""
    return values.reshape(np.broadcast_shapes(*(at.shape for at in place))) if place else values
