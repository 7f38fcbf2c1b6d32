"""A product of which each reader takes columns of its own --> a product for each.

    y = x @ W + b;   take(transpose(reshape(y)), i) for all i   -->   x @ W_i + b_i  for all i

Exporters compute queries, keys and values at once, and take them apart by reshapes, transpositions and slices, which
copy everything once more. Weights are taken apart for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import (
    bindings_of,
    consumers_of,
    dtype_of,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)
from ..hub.views import MOVES, Axis, Part, merged, reshaped, view_of


@tvm.transform.module_pass(opt_level=0, name="tvmq.SplitProducts")
@dataclass(frozen=True)
class SplitProducts:
    """Split products by constants in float32 whose columns go to different readers."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with a product for each reader."""
        pieces = _Graph(mod).pieces()
        if not pieces:
            return mod
        sources: dict[relax.Var, relax.Expr] = {}

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if op_name(value) == "relax.matmul":
                sources[var] = value.args[0]
            return pieces[var].emit(builder, sources[pieces[var].product.var]) if var in pieces else value

        return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))


@dataclass(frozen=True, eq=False)
class _Product:
    """A product with its bias.

    Attributes
    ----------
    var : of the product alone.
    result : of the sum, where there is a bias.
    weight, bias : ``[K, N]`` and ``[N]``; no bias is None.
    """

    var: relax.Var
    result: relax.Var
    weight: np.ndarray
    bias: np.ndarray | None
    name: str


@dataclass(frozen=True)
class _Piece:
    """What one reader takes: each row's columns at ``offset`` and where the parts of its axes lead from there."""

    product: _Product
    axes: tuple[Axis, ...]
    offset: int

    def _parts(self, of_columns: bool) -> list[Part]:
        """Return the parts that go along a row of the product, or from row to row, outermost first."""
        width = self.product.weight.shape[1]
        parts = [part for axis in self.axes for part in axis if (part.stride < width) == of_columns]
        return sorted(parts, key=lambda part: -part.stride)

    @property
    def columns(self) -> np.ndarray:
        """Which of the product's columns it has, in their order in the product."""
        places = np.array([self.offset])
        for part in self._parts(of_columns=True):
            places = (places[:, None] + part.stride * np.arange(part.extent)).ravel()
        return places

    @property
    def is_whole(self) -> bool:
        """Tell whether it has the same columns of each row once."""
        width = self.product.weight.shape[1]
        rows, columns = self._parts(of_columns=False), self._parts(of_columns=True)
        inside = self.offset + sum((part.extent - 1) * part.stride for part in columns) < width
        size = math.prod(shape_of(self.product.result)) // width
        return inside and merged(rows) == merged([Part(size, width)]) and all(part.stride for part in columns)

    def emit(self, builder: relax.BlockBuilder, data: relax.Expr) -> relax.Expr:
        """Return the piece as a product of ``data``, the product's, with columns of its own."""

        def bound(call: relax.Expr) -> relax.Var:
            return builder.emit(with_layer_name(call, self.product.name))

        columns, product = self.columns, self.product
        value = bound(relax.op.matmul(data, relax.const(np.ascontiguousarray(product.weight[:, columns]))))
        if product.bias is not None:
            value = bound(relax.op.add(value, relax.const(product.bias[columns])))
        parts = [*self._parts(of_columns=False), *self._parts(of_columns=True)]
        order = [parts.index(part) for axis in self.axes for part in axis]
        shape = [math.prod(part.extent for part in axis) for axis in self.axes]
        if order != sorted(order):
            apart = bound(relax.op.reshape(value, [part.extent for part in parts]))
            value = bound(relax.op.permute_dims(apart, order))
        return value if shape_of(value) == tuple(shape) else relax.op.reshape(value, shape)


class _Graph:
    """Finds the pieces of a module's products."""

    def __init__(self, mod: IRModule) -> None:
        self._values = {binding.var: binding.value for binding in bindings_of(mod)}
        self._vars = {value: var for var, value in self._values.items()}
        self._readers = consumers_of(mod)

    def pieces(self) -> dict[relax.Var, _Piece]:
        """Return what is to become a product of its own, by the variable that it is now."""
        found: dict[relax.Var, _Piece] = {}
        for var, value in self._values.items():
            product = self._product(var, value)
            if product is None:
                continue
            own = self._pieces_of(product)
            columns = [column for piece in own.values() for column in piece.columns]
            if len(own) > 1 and len(set(columns)) == len(columns):
                found.update(own)
        return found

    def _product(self, var: relax.Var, value: relax.Expr) -> _Product | None:
        if op_name(value) != "relax.matmul" or not is_constant(value.args[1]) or dtype_of(value) != "float32":
            return None
        weight, name = to_numpy(value.args[1]), layer_name(value)
        if weight.ndim != 2 or is_constant(value.args[0]) or 0 in shape_of(value):
            return None
        reader = self._only_reader(var)
        if op_name(reader) == "relax.add" and shape_of(reader) == shape_of(value):
            bias = reader.args[1] if reader.args[0].same_as(var) else reader.args[0]
            if is_constant(bias) and to_numpy(bias).size == weight.shape[1] == shape_of(bias)[-1]:
                return _Product(var, self._vars[reader], weight, to_numpy(bias).ravel(), name)
        return _Product(var, var, weight, None, name)

    def _only_reader(self, var: relax.Var) -> relax.Expr | None:
        readers = self._readers.get(var, [])
        return readers[0] if len(readers) == 1 else None

    def _pieces_of(self, product: _Product) -> dict[relax.Var, _Piece]:
        """Return what the readers take; nothing where one takes anything else."""
        var = product.result
        while op_name(reader := self._only_reader(var)) in MOVES:
            var = self._vars[reader]
        view = view_of(lambda expr: self._values.get(expr, expr), var)
        if not view.source.same_as(product.result):
            return {}
        pieces: dict[relax.Var, _Piece] = {}
        for reader in self._readers.get(var, []):
            taken = self._vars.get(reader)
            is_split = op_name(reader) == "relax.split"
            for item in self._readers.get(taken, []) if is_split else [reader]:
                found = _cut(view.axes, item, reader)
                piece = None if found is None else _Piece(product, *found)
                if piece is None or not piece.is_whole:
                    return {}
                pieces[self._vars[item]] = piece
        return pieces


def _cut(axes: tuple[Axis, ...], item: relax.Expr, reader: relax.Expr) -> tuple[tuple[Axis, ...], int] | None:
    """Return the axes of a slice, and how far from the whole's its first element is; None for anything but a slice.

    Parameters
    ----------
    item : the slice, or an item of the tuple ``reader``.
    """
    bounds = _bounds(item, reader, [math.prod(part.extent for part in axis) for axis in axes])
    if bounds is None:
        return None
    offset, cut = 0, list(axes)
    for place, (start, stop) in bounds.items():
        parts = axes[place]
        if stop - start == math.prod(part.extent for part in parts):
            continue
        if len(parts) != 1 or not 0 <= start < stop <= parts[0].extent:
            return None
        cut[place] = merged([Part(stop - start, parts[0].stride)])
        offset += start * parts[0].stride
    # An axis of one element may be gone.
    whole = reshaped(cut, shape_of(item))
    return None if whole is None else (whole, offset)


def _bounds(item: relax.Expr, reader: relax.Expr, shape: Sequence[int]) -> dict[int, tuple[int, int]] | None:
    """Return start and end of a slice along the axes that it cuts; None for anything but a slice."""
    if isinstance(item, relax.TupleGetItem):
        axis = int(reader.attrs.axis) % len(shape)
        widths = [int(field.shape[axis]) for field in reader.ty.fields]
        start = sum(widths[: item.index])
        return {axis: (start, start + widths[item.index])}
    if op_name(item) == "relax.take":
        index = item.args[1]
        if item.attrs.axis is None or not is_constant(index) or to_numpy(index).size != 1:
            return None
        place = int(to_numpy(index).item())
        return {int(item.attrs.axis) % len(shape): (place, place + 1)}
    if op_name(item) == "relax.strided_slice":
        axes, *bounds = [[int(number) for number in numbers.fields] for numbers in item.args[1:4]]
        strides = [int(stride) for stride in item.args[4].fields] if len(item.args) > 4 else []
        if any(stride != 1 for stride in strides):
            return None
        return {
            axis % len(shape): slice(*ends).indices(shape[axis])[:2]
            for axis, *ends in zip(axes, *bounds, strict=True)
        }
    return None
