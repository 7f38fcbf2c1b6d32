"""How the threads of a block bring weights of few bits and scales into shared memory: as the floats that they are."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import TOGETHER
from ...targets.cuda.calls import device_call
from .operands import PIECE, Piece
from .product import Product
from .tile_loads import Loader, Place, swizzled
from .vectors import analyzer_of, under


class ScaledLoader(Loader):
    """Emits the loads of weights of few bits and scales, as the floats that they are.

    A thread has four neighbours at a time, which lie in one plane of a word.
    """

    def __init__(self, product: Product, place: Place) -> None:
        operand = product.factor_operand(tirx.const(0, "int32"), place.ranges)
        self.operand, self.place, self.product = operand, place, product
        self.piece = Piece(TOGETHER, False, None)
        self.bytes, self.numbers = PIECE, place.depth // operand.item

    def _piece(
        self,
        whole: tirx.Expr,
        first: tirx.Expr,
        base: tirx.Expr,
        line: tirx.Expr,
        part: tirx.Expr,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        scaled, analyzer = self.product.scaled, analyzer_of(ranges)
        column = analyzer.simplify(self.product.scaled_column(whole))
        block, rest = self._divided(first, scaled.chunks * scaled.lanes * TOGETHER)
        chunk, rest = self._divided(rest, scaled.lanes * TOGETHER)
        word, plane = self._divided(chunk, scaled.planes)
        numbers = T.alloc_buffer((TOGETHER,), "float32", scope="local")
        with T.unroll(TOGETHER) as number:
            T.buffer_store(numbers, tirx.const(0.0, "float32"), [number])

        def emit() -> None:
            codes = T.alloc_buffer((TOGETHER,), "uint8", scope="local")
            source = scaled.words[column, block, tirx.floordiv(rest, TOGETHER), word * TOGETHER]
            device_call("load_const_4", T.address_of(codes[0]), T.address_of(source))
            device_call(f"floats_u{scaled.bits}", T.address_of(numbers[0]), T.address_of(codes[0]), plane)
            scale = T.alloc_buffer((1,), "float32", scope="local")
            group = tirx.floordiv(first, scaled.group) if scaled.groups > 1 else 0
            unit = tirx.const(1 / scaled.unit, "float32")
            T.buffer_store(scale, scaled.scales[column, group] * unit, [0])
            with T.unroll(TOGETHER) as number:
                integer = numbers[number] - tirx.const(scaled.offset, "float32")
                T.buffer_store(numbers, integer * scale[0], [number])

        under([first < scaled.length] if scaled.length % self.numbers else [], emit)
        address = T.address_of(self.place.shared[base + swizzled(line, part * self.bytes, self.place.depth)])
        device_call("shared_store_16", address, T.address_of(numbers[0]))

    @staticmethod
    def _divided(value: tirx.Expr, by: int) -> tuple[tirx.Expr, tirx.Expr]:
        return tirx.floordiv(value, by), tirx.floormod(value, by)
