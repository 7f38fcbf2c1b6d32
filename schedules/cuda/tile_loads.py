"""How the threads of a block bring tiles of operands into shared memory.

A tile has lines of ``depth`` bytes in pieces of 16; a piece's place in its line is exchanged with others by the number
of the line, so that neither the copies nor the reads of eight lines meet in a bank:

    place of piece p of line r  =  p xor (r / (8 / pieces a line)) mod (pieces a line)

Numbers that lie together in memory are copied past the registers. Others are computed: padding of single channels, and
weights of few bits for units that want bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import device_call
from .operands import PIECE, Operand, Piece, copied
from .threads import in_registers
from .vectors import Lane, analyzer_of, under


def swizzled(line: tirx.Expr, offset: tirx.Expr, depth: int) -> tirx.Expr:
    """Return where byte ``offset`` of a line of a tile lies; lines are ``depth`` bytes long."""
    pieces = depth // PIECE
    piece, rest = tirx.floordiv(offset, PIECE), tirx.floormod(offset, PIECE)
    key = tirx.floormod(tirx.floordiv(line, max(1, 8 // pieces)), pieces)
    return line * depth + (piece ^ key) * PIECE + rest


@dataclass(frozen=True)
class Place:
    """Where a tile is.

    Attributes
    ----------
    shared : the block's shared memory.
    offset : where the tile begins in a stage, in bytes.
    lines, depth : how many lines it has, and bytes in each.
    number : which of the operand's tiles it is.
    thread, threads : which thread runs, and of how many.
    ranges : of all variables.
    """

    shared: tirx.Buffer
    offset: int
    lines: int
    depth: int
    number: tirx.Expr
    thread: tirx.Var
    threads: int
    ranges: Mapping[tirx.Var, int]


class Loader:
    """Emits the loads of an operand's tiles.

    Parameters
    ----------
    bits : of the operand's numbers where they are packed weights, which are unpacked on the way; 8 of all others.

    Attributes
    ----------
    by_registers : a load ends in registers, and ``complete`` takes it to shared memory.
    """

    by_registers = False

    def __init__(self, operand: Operand, place: Place, bits: int = 8) -> None:
        self.operand, self.place, self.bits = operand, place, bits
        self.piece = operand.piece()
        self.bytes = self.piece.width * operand.item
        self.numbers = place.depth * bits // 8 // operand.item
        """Of a line in a stage."""

    def prepare(self) -> None:
        """Emit what is the same for all stages."""
        if self.piece.outside is not None:
            dtype = str(self.piece.outside.ty.dtype)
            self.outside = T.alloc_buffer((self.piece.width,), dtype, scope="local")
            for place in range(self.piece.width):
                T.buffer_store(self.outside, self.piece.outside, [place])

    def load(self, step: tirx.Expr, base: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> None:
        """Emit the load of a stage, which begins at ``base``; ``ranges`` are of the variables in ``step``."""
        place, width = self.place, self.piece.width
        a_line = self.numbers // width
        pieces = place.lines * a_line
        turns = -(-pieces // place.threads)
        with T.unroll(turns) as turn:
            piece = turn * place.threads + place.thread
            line, part = tirx.floordiv(piece, a_line), tirx.floormod(piece, a_line)
            whole = place.number * place.lines + line
            if self.operand.lines % place.lines:  # lines beyond the last are computed, and not written
                whole = tirx.min(whole, self.operand.lines - 1)
            known = {**place.ranges, **ranges, turn: turns}

            def emit() -> None:
                self._piece(whole, step * self.numbers + part * width, base + place.offset, line, part, known)

            under([piece < pieces] if pieces % place.threads else [], emit)

    def complete(self, step: tirx.Expr, base: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> None:
        """Emit the rest of the load of a stage; parameters as for ``load``."""

    def _piece(
        self,
        whole: tirx.Expr,
        first: tirx.Expr,
        base: tirx.Expr,
        line: tirx.Expr,
        part: tirx.Expr,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        var = tirx.Var("lane", "int32")
        lane = Lane(var, self.piece.width, analyzer_of({**ranges, var: self.piece.width}))
        conditions = [] if self.operand.length % self.numbers == 0 else [first < self.operand.length]
        value = self.operand.at(whole, first + var)
        if self.bits < 8:
            self._unpack(value, lane, conditions, base, line, part)
            return
        address = T.address_of(self.place.shared[base + swizzled(line, part * self.bytes, self.place.depth)])
        if not self.piece.is_copy:
            numbers = self._computed(value, lane, conditions)
            device_call(f"shared_store_{self.bytes}", address, T.address_of(numbers[0]))
            return
        source = copied(value, lane)
        conditions += source.conditions
        copy = T.address_of(source.load)

        if not conditions:
            device_call(f"copy_async_{self.bytes}", address, copy)
            return
        with T.If(tirx.all(*conditions)):
            with T.Then():
                device_call(f"copy_async_{self.bytes}", address, copy)
            with T.Else():
                device_call(f"shared_store_{self.bytes}", address, T.address_of(self.outside[0]))

    @staticmethod
    def _computed(value: tirx.Expr, lane: Lane, conditions: list[tirx.Expr], outside: int = 0) -> tirx.Buffer:
        """Emit the numbers of a piece, in registers."""
        dtype = str(value.ty.dtype)
        if conditions:
            value = tirx.if_then_else(tirx.all(*conditions), value, tirx.const(outside, dtype))
        return in_registers(value, lane)

    def _unpack(
        self,
        value: tirx.Expr,
        lane: Lane,
        conditions: list[tirx.Expr],
        base: tirx.Expr,
        line: tirx.Expr,
        part: tirx.Expr,
    ) -> None:
        """Emit the unpacking of a word of weights: as many pieces as it has planes."""
        planes = 8 // self.bits
        words = self._computed(value, lane, conditions, self.operand.beyond)
        weights = T.alloc_buffer((PIECE * planes,), "int8", scope="local")
        with T.unroll(PIECE // 4) as word:
            device_call(
                f"unpack_s{self.bits}", T.address_of(weights[4 * word]), T.address_of(words[4 * word]), PIECE
            )
        for plane in range(planes):
            place = swizzled(line, (part * planes + plane) * PIECE, self.place.depth)
            address = T.address_of(self.place.shared[base + place])
            device_call("shared_store_16", address, T.address_of(weights[plane * PIECE]))


class PackingLoader(Loader):
    """Emits the loads of tiles of numbers of 4 bits: of bytes in memory two in one, which are 16 places apart."""

    def __init__(self, operand: Operand, place: Place) -> None:
        super().__init__(operand, place)
        self.piece = Piece(2 * PIECE, False, None)
        self.bytes = PIECE
        self.numbers = 2 * place.depth

    def _piece(
        self,
        whole: tirx.Expr,
        first: tirx.Expr,
        base: tirx.Expr,
        line: tirx.Expr,
        part: tirx.Expr,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        halves = []
        for half in range(2):
            var, place = tirx.Var("lane", "int32"), first + half * PIECE
            lane = Lane(var, PIECE, analyzer_of({**ranges, var: PIECE}))
            is_whole = self.operand.length % self.numbers == 0
            conditions = [] if is_whole else [place + var < self.operand.length]
            halves.append(self._computed(self.operand.at(whole, place + var), lane, conditions))
        packed = T.alloc_buffer((PIECE,), "uint8", scope="local")
        with T.unroll(PIECE // 4) as word:
            low, high = (T.address_of(half[4 * word]) for half in halves)
            device_call("pack_u4", T.address_of(packed[4 * word]), low, high)
        address = T.address_of(self.place.shared[base + swizzled(line, part * PIECE, self.place.depth)])
        device_call("shared_store_16", address, T.address_of(packed[0]))
