"""Products as the kernels see them: rows of data times columns of factors, whatever the operator was.

    conv2d[n, h, w, o] = sum over kh, kw, c of rows[n, h + kh, w + kw, c] * weight[o, kh, kw, c]
    -->
    result[row, column] = sum over depth of data[row, depth] * factor[column, depth]
    with (n, h, w) the rows, o the columns and (kh, kw, c) the depth

Axes that both operands have, such as the heads of attention, are a batch of products.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call, TensorLoad

from ...passes.hub.packing import TOGETHER, WORD, bias_of
from ...passes.realize.compute.annotations import DATA_BITS, SCALED
from ...targets.cuda.calls import SHORT_DTYPE
from .definition import Step, loads, step_of, substituted
from .operands import PIECE, Operand
from .threads import index_in
from .vectors import place_of, uses

Axes = tuple[tuple[tirx.Var, int], ...]
"""Axes of a result, with their extents."""

POPCOUNT = "tvmq_popcount"


@dataclass(frozen=True)
class Packed:
    """Weights of few bits as they lie in memory.

    Attributes
    ----------
    word : the byte that is read, by axes of the sums, ``step`` and ``place``.
    step, place : which group of ``depth`` weights, and which of the group.
    depth : weights of a group, and bytes of a word.
    bits : of a weight.
    words : of a column.
    """

    word: TensorLoad
    step: tirx.Var
    place: tirx.Var
    depth: int
    bits: int
    words: int

    @property
    def planes(self) -> int:
        return 8 // self.bits

    @property
    def zeros(self) -> int:
        """A byte of weights of 0: they are packed as half of what there can be."""
        return sum(2 ** (self.bits - 1) << self.bits * plane for plane in range(self.planes))


@dataclass(frozen=True)
class Scaled:
    """Float weights as they lie in memory, by ``packing.pack_words``.

    Attributes
    ----------
    words : uint8 ``[columns, blocks, lanes, 16]``.
    scales : float32 ``[columns, groups]``.
    column : which column of theirs, by axes of the sums.
    bits : of a weight.
    group : neighbours along the inner product that share a scale.
    """

    words: tirx.Buffer
    scales: tirx.Buffer
    column: tirx.Expr
    bits: int
    group: int

    @property
    def planes(self) -> int:
        return 8 // self.bits

    @property
    def lanes(self) -> int:
        """Words of a block."""
        return int(self.words.shape[2])

    @property
    def chunks(self) -> int:
        """Runs of four weights of a word."""
        return WORD // TOGETHER * self.planes

    @property
    def pieces(self) -> int:
        """Words of a column."""
        return int(self.words.shape[1]) * self.lanes

    @property
    def length(self) -> int:
        """Weights of a column, with padding."""
        return self.pieces * self.chunks * TOGETHER

    @property
    def groups(self) -> int:
        return int(self.scales.shape[1])

    @property
    def unit(self) -> float:
        """What a weight of 1 is in the floats that the device's functions make of codes."""
        return 1.0 if self.bits == 8 else 0.5

    @property
    def offset(self) -> float:
        """What a weight of 0 is there."""
        return 0.0 if self.bits == 8 else (2**self.bits + bias_of(self.bits)) * self.unit

    def first(self, piece: tirx.Expr, chunk: tirx.Expr | int) -> tirx.Expr:
        """Return the place in the inner product of a word's run of four."""
        block, lane = tirx.floordiv(piece, self.lanes), tirx.floormod(piece, self.lanes)
        return ((block * self.chunks + chunk) * self.lanes + lane) * TOGETHER


@dataclass(frozen=True)
class Product:
    """``result[batch, row, column] = after(sum over depth of data[batch, row, depth] * factor[batch, column, depth])``.

    Attributes
    ----------
    sums, result : the steps.
    place : where the result reads the sums, by the result's axes.
    batch, rows, columns : axes of the result.
    data, factor : the operands, by axes and taps of the sums.
    packed : what the factors are unpacked from; None where they lie in memory as they are.
    is_bits : operands are bits, eight a number, and a product counts those that are unlike.
    bits : the step that makes bytes of eight elements of the result each, which are 0 or 1; None where there is none.
    scaled : the same of float factors.
    """

    sums: Step
    result: Step
    place: tuple[tirx.Expr, ...]
    batch: Axes
    rows: Axes
    columns: Axes
    data: tirx.Expr
    factor: tirx.Expr
    packed: Packed | None
    is_bits: bool = False
    bits: Step | None = None
    scaled: Scaled | None = None

    @property
    def item(self) -> int:
        """Bytes of a number of the operands."""
        return 4 if self.dtype == "float32" else 1

    @property
    def dtype(self) -> str:
        """Of the sums."""
        return str(self.sums.buffer.dtype)

    @property
    def types(self) -> str:
        """How the device's functions call the dtypes of the operands: ``"u8s8"``."""
        if self.is_bits:
            return "b1_xor"
        return "".join(SHORT_DTYPE[str(operand.ty.dtype)] for operand in (self.data, self.factor))

    @property
    def data_bits(self) -> int:
        """That a number of the data has at most; 1 where one is eight of a bit."""
        return 1 if self.is_bits else int(self.sums.marks.get(DATA_BITS, 8 * self.item))

    @property
    def factor_bits(self) -> int:
        """Of a factor in memory."""
        if self.is_bits:
            return 1
        return 8 * self.item if self.packed is None else self.packed.bits

    def has_columns_along(self, axis: tirx.Var) -> bool:
        """Tell whether neighbours along an axis of the result are those of columns."""
        return bool(self.columns) and self.columns[-1][0].same_as(axis)

    def known(self, batch: tirx.Expr, row: tirx.Expr, column: tirx.Expr) -> dict[tirx.Var, tirx.Expr]:
        """Return the result's axes of an element."""
        values: dict[tirx.Var, tirx.Expr] = {}
        for axes, flat in ((self.batch, batch), (self.rows, row), (self.columns, column)):
            places = place_of(flat, [extent for _, extent in axes])
            values |= dict(zip((axis for axis, _ in axes), places, strict=True))
        return values

    def data_operand(self, batch: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> Operand:
        """Return the data of a product of the batch."""

        def at(line: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
            return self._element(self.data, self.known(batch, line, _ZERO), place)

        return Operand(at, count(self.rows), self.sums.length, self.item, ranges)

    def factor_operand(self, batch: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> Operand:
        """Return the factors of a product of the batch, as they lie in memory: of packed ones the bytes of words."""
        packed = self.packed

        def at(line: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
            known = self.known(batch, _ZERO, line)
            if packed is None:
                return self._element(self.factor, known, place)
            word, inside = tirx.floordiv(place, packed.depth), tirx.floormod(place, packed.depth)
            load = self._element(packed.word, known, _ZERO)
            return substituted(load, {packed.step: word * packed.planes, packed.place: inside})

        columns = count(self.columns)
        if packed is None:
            return Operand(at, columns, self.sums.length, self.item, ranges)
        return Operand(at, columns, packed.words * packed.depth, self.item, ranges, packed.zeros)

    def scaled_column(self, column: tirx.Expr) -> tirx.Expr:
        """Return where the words and the scales of a column lie."""
        known = self.known(_ZERO, _ZERO, column)
        own = [substituted(index, known) for index in self.place]
        return substituted(self.scaled.column, dict(zip(self.sums.axes, own, strict=True)))

    def _element(
        self, operand: tirx.Expr, known: Mapping[tirx.Var, tirx.Expr], place: tirx.Expr
    ) -> tirx.Expr:
        own = [substituted(index, known) for index in self.place]
        taps = place_of(place, self.sums.tap_extents)
        names = (*self.sums.axes, *self.sums.taps)
        return substituted(operand, dict(zip(names, (*own, *taps), strict=True)))

    def finished(self, known: Mapping[tirx.Var, tirx.Expr], total: tirx.Expr) -> tirx.Expr:
        """Return an element of the result, of the sum of its products."""
        total = total + self.sums.start_at([substituted(each, known) for each in self.place])
        own = self.sums.buffer

        def replaced(load: TensorLoad) -> tirx.Expr:
            return total if load.source.same_as(own) else load

        value = self.result.at([known[axis] for axis in self.result.axes])
        return tvm_ffi.structural_map(value, [(TensorLoad, replaced)])

    def index(self, known: Mapping[tirx.Var, tirx.Expr]) -> list[tirx.Expr]:
        """Return where an element of the result is written."""
        return self.result.index_at([known[axis] for axis in self.result.axes])


_ZERO = tirx.const(0, "int32")


def count(axes: Axes) -> int:
    """Return how many values axes have together."""
    return math.prod(extent for _, extent in axes)


def product_of(sums: Step, result: Step, inside: Sequence[Step] = ()) -> Product | None:
    """Return the product that a result is made of; None where its axes are not rows, columns and batch.

    Parameters
    ----------
    inside : steps that unpack weights (``Definition.inside``).
    """
    operands = _operands(sums.value)
    if sums.combine is not tirx.Add or operands is None:
        return None
    data, factor = operands
    is_bits = not isinstance(sums.value, tirx.Mul)
    dtypes = {str(data.ty.dtype), str(factor.ty.dtype)}
    is_float = dtypes == {"float32"} and str(sums.buffer.dtype) == "float32"
    is_integer = dtypes <= SHORT_DTYPE.keys() and str(sums.buffer.dtype) == "int32"
    place = index_in(result, sums)
    if place is None or not (is_float or is_integer):
        return None
    found: dict[str, list[tuple[tirx.Var, int]]] = {"batch": [], "rows": [], "columns": []}
    for axis, extent in zip(result.axes, result.extents, strict=True):
        roles = set()
        for own, index in zip(sums.axes, place, strict=True):
            if uses(index, [axis]):
                in_data, in_factor = uses(data, [own]), uses(factor, [own])
                roles.add("batch" if in_data == in_factor else "rows" if in_data else "columns")
        if len(roles) > 1:
            return None
        found[roles.pop() if roles else "batch"].append((axis, extent))
    batch, rows, columns = (tuple(found[role]) for role in ("batch", "rows", "columns"))
    scaled = _scaled(factor, inside) if is_float else None
    packed = None if scaled is not None else _packed(factor, inside)
    if packed is not None and packed.depth != PIECE:  # no unit takes such words
        factor, packed = _expanded(factor, inside), None
    return Product(
        *(sums, result, tuple(place), batch, rows, columns, data, factor, packed),
        is_bits=is_bits,
        scaled=scaled,
    )


def _operands(value: tirx.Expr) -> tuple[tirx.Expr, tirx.Expr] | None:
    """Return what is multiplied, or whose unlike bits are counted; None where a term is neither."""
    if isinstance(value, tirx.Mul):
        return _operand(value.a), _operand(value.b)
    if not isinstance(value, Call) or len(value.args) != 2 or str(value.args[0]).strip('"') != POPCOUNT:
        return None
    differ = value.args[1].value if isinstance(value.args[1], tirx.Cast) else value.args[1]
    return (differ.a, differ.b) if isinstance(differ, tirx.BitwiseXor) else None


def _operand(expr: tirx.Expr) -> tirx.Expr:
    """Return what is widened."""
    return expr.value if isinstance(expr, tirx.Cast) and str(expr.ty.dtype) == "int32" else expr


def _expanded(factor: TensorLoad, inside: Sequence[Step]) -> tirx.Expr:
    """Return a factor with its unpacking."""
    step = step_of(factor.source, inside)
    return step.at(factor.indices)


def _scaled(factor: tirx.Expr, inside: Sequence[Step]) -> Scaled | None:
    """Return what a float factor is unpacked from; None where it is not."""
    if not isinstance(factor, TensorLoad):
        return None
    step = step_of(factor.source, inside)
    if step is None or SCALED not in step.marks:
        return None
    sources = {str(load.source.dtype): load.source for load in loads(step)}
    bits, group = (int(number) for number in step.marks[SCALED])
    return Scaled(sources["uint8"], sources["float32"], factor.indices[0], bits, group)


def _packed(factor: tirx.Expr, inside: Sequence[Step]) -> Packed | None:
    """Return what a factor is unpacked from; None where it is not."""
    if not isinstance(factor, TensorLoad):
        return None
    step = step_of(factor.source, inside)
    if step is None:
        return None
    words: list[TensorLoad] = []
    tvm_ffi.structural_walk(step.value, [(TensorLoad, words.append)])
    *front, group, lane, place = step.axes
    own = dict(zip((*front, lane), (*factor.indices[:-3], factor.indices[-2]), strict=True))
    word = substituted(words[0], own)
    count_of_words, _, depth = (int(extent) for extent in words[0].source.shape[-3:])
    planes = step.extents[-3] // count_of_words
    return Packed(word, group, place, depth, 8 // planes, count_of_words)


def split_sums(sums: Step, parts: int, buffer: tirx.Buffer) -> tuple[Step, Step]:
    """Return two steps in place of one: sums of parts of the inner product, ``buffer [parts, ...]``, and their sum.

    The parts are of one length. Only sums of integers are the same in any order.
    """
    part, inner = tirx.Var("part", "int32"), tirx.Var("inner", "int32")
    length = sums.length // parts
    taps = place_of(part * length + inner, sums.tap_extents)
    value = substituted(sums.value, dict(zip(sums.taps, taps, strict=True)))
    zero = tirx.const(0, str(buffer.dtype))
    partial = replace(
        sums,
        buffer=buffer,
        axes=(part, *sums.axes),
        extents=(parts, *sums.extents),
        index=(part, *sums.axes),
        taps=(inner,),
        tap_extents=(length,),
        value=value,
        start=zero,
    )
    number = tirx.Var("part", "int32")
    whole = replace(
        sums,
        taps=(number,),
        tap_extents=(parts,),
        value=tirx.BufferLoad(buffer, [number, *sums.axes]),
        marks={},
    )
    return partial, whole
