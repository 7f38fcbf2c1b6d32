"""How the threads of a block bring weights of few bits and scales into shared memory: as the floats that they are.

global memory --(as they lie)--> registers --(products of another stage)--> integer * scale --> shared memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import TOGETHER
from ...targets.cuda.calls import device_call
from .operands import PIECE, Piece
from .product import Product
from .tile_loads import Loader, Place, swizzled
from .vectors import analyzer_of, under


class ScaledLoader(Loader):
    """Emits the loads of weights of few bits and scales.

    A thread has four neighbours at a time, which lie in one plane of a word.
    """

    by_registers = True

    def __init__(self, product: Product, place: Place) -> None:
        self.product, self.place = product, place
        self.operand = product.factor_operand(tirx.const(0, "int32"), place.ranges)
        self.piece = Piece(TOGETHER, False, None)
        self.bytes, self.numbers = PIECE, place.depth // self.operand.item
        self.a_line = self.numbers // TOGETHER
        self.turns = -(-place.lines * self.a_line // place.threads)

    def prepare(self) -> None:
        """Emit room for what is on its way."""
        self.words = T.alloc_buffer((self.turns * TOGETHER,), "uint8", scope="local")
        self.scales = T.alloc_buffer((self.turns,), "float32", scope="local")

    def load(self, step: tirx.Expr, base: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> None:
        """Emit the loads of a stage into registers."""
        scaled = self.product.scaled

        def fetch(turn: tirx.Expr, line: tirx.Expr, part: tirx.Expr, known: Mapping[tirx.Var, int]) -> None:
            analyzer = analyzer_of(known)
            whole = self.place.number * self.place.lines + line
            if self.operand.lines % self.place.lines:  # lines beyond the last are computed, and not written
                whole = tirx.min(whole, self.operand.lines - 1)
            column = analyzer.simplify(self.product.scaled_column(whole))
            first = analyzer.simplify(step * self.numbers + part * TOGETHER)
            block, rest = self._divided(first, scaled.chunks * scaled.lanes * TOGETHER)
            chunk, rest = self._divided(rest, scaled.lanes * TOGETHER)
            byte = tirx.floordiv(chunk, scaled.planes) * TOGETHER
            group = tirx.floordiv(first, scaled.group) if scaled.groups > 1 else 0

            def emit() -> None:
                word = scaled.words[column, block, tirx.floordiv(rest, TOGETHER), byte]
                device_call("load_const_4", T.address_of(self.words[turn * TOGETHER]), T.address_of(word))
                T.buffer_store(self.scales, scaled.scales[column, group], [turn])

            under([first < scaled.length] if scaled.length % self.numbers else [], emit)

        self._each(ranges, fetch)

    def complete(self, step: tirx.Expr, base: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> None:
        """Emit how what ``load`` has brought goes to shared memory."""
        scaled = self.product.scaled

        def store(turn: tirx.Expr, line: tirx.Expr, part: tirx.Expr, known: Mapping[tirx.Var, int]) -> None:
            first = analyzer_of(known).simplify(step * self.numbers + part * TOGETHER)
            numbers = T.alloc_buffer((TOGETHER,), "float32", scope="local")
            with T.unroll(TOGETHER) as number:
                T.buffer_store(numbers, tirx.const(0.0, "float32"), [number])

            def emit() -> None:
                plane = tirx.floormod(tirx.floordiv(first, scaled.lanes * TOGETHER), scaled.planes)
                words = T.address_of(self.words[turn * TOGETHER])
                device_call(f"floats_u{scaled.bits}", T.address_of(numbers[0]), words, plane)
                scale = self.scales[turn] * tirx.const(1 / scaled.unit, "float32")
                with T.unroll(TOGETHER) as number:
                    integer = numbers[number] - tirx.const(scaled.offset, "float32")
                    T.buffer_store(numbers, integer * scale, [number])

            under([first < scaled.length] if scaled.length % self.numbers else [], emit)
            place = base + self.place.offset + swizzled(line, part * self.bytes, self.place.depth)
            device_call("shared_store_16", T.address_of(self.place.shared[place]), T.address_of(numbers[0]))

        self._each(ranges, store)

    def _each(self, ranges: Mapping[tirx.Var, int], emit: Callable[..., None]) -> None:
        """Emit something for each four of this thread's weights: by turn, line of the tile, and place in the line."""
        place, pieces = self.place, self.place.lines * self.a_line
        with T.unroll(self.turns) as turn:
            piece = turn * place.threads + place.thread
            line, part = self._divided(piece, self.a_line)
            known = {**place.ranges, **ranges, turn: self.turns}
            under([piece < pieces] if pieces % place.threads else [], lambda: emit(turn, line, part, known))

    @staticmethod
    def _divided(value: tirx.Expr, by: int) -> tuple[tirx.Expr, tirx.Expr]:
        return tirx.floordiv(value, by), tirx.floormod(value, by)
