"""Looking up vectors of bytes in a table of 256, on x86.

=====================  ========================  ======================================================================
name                   LLVM intrinsic            how
=====================  ========================  ======================================================================
look_up_64_avx512vbmi  avx512.vpermi2var.qi.512  two of 128 entries each, and the high bit chooses
look_up_64_avx512      avx512.pshuf.b.512        sixteen of 16 entries each, which give 0 for what others have
look_up_32_avx2        avx2.pshuf.b              the same
=====================  ========================  ======================================================================
"""

from __future__ import annotations

import functools
import operator
from functools import partial

from tvm import tirx
from tvm.script import tirx as T

from ..code import LookUpBytes


def _signed(value: tirx.Expr, lanes: int) -> tirx.Expr:
    return T.reinterpret(value, dtype=f"int8x{lanes}")


def permuted(data: tirx.Expr, table: tirx.Buffer, *, lanes: int, name: str) -> tirx.Expr:
    """Look up by an instruction that takes ``2 * lanes`` entries at a time, twice."""
    places = _signed(data, lanes)
    parts = [_signed(table.vload([place], f"uint8x{lanes}"), lanes) for place in range(0, 256, lanes)]
    low, high = (
        tirx.call_llvm_pure_intrin(f"int8x{lanes}", name, first, places, second)
        for first, second in (parts[:2], parts[2:])
    )
    chosen = T.Select(places < T.broadcast(T.int8(0), lanes), high, low)
    return T.reinterpret(chosen, dtype=f"uint8x{lanes}")


def shuffled(data: tirx.Expr, table: tirx.Buffer, *, lanes: int, name: str) -> tirx.Expr:
    """Look up by an instruction that takes 16 entries, and gives 0 for bytes from 128 on."""
    kind = f"int8x{lanes}"

    def entries(place: int) -> tirx.Expr:
        sixteen = _signed(table.vload([place], "uint8x16"), 16)
        repeated = T.Shuffle([sixteen] * (lanes // 16), list(range(lanes)))
        # Of what lies outside of these sixteen the addition makes 128 or more.
        near = data - T.broadcast(tirx.const(place, "uint8"), lanes)
        limit = T.broadcast(tirx.const(0x70, "uint8"), lanes)
        inside = tirx.call_llvm_pure_intrin(f"uint8x{lanes}", "llvm.uadd.sat", near, limit)
        return tirx.call_llvm_pure_intrin(kind, name, repeated, _signed(inside, lanes))

    found = functools.reduce(operator.or_, [entries(place) for place in range(0, 256, 16)])
    return T.reinterpret(found, dtype=f"uint8x{lanes}")


LOOK_UPS: dict[str, LookUpBytes] = {
    "look_up_64_avx512vbmi": partial(permuted, lanes=64, name="llvm.x86.avx512.vpermi2var.qi.512"),
    "look_up_64_avx512": partial(shuffled, lanes=64, name="llvm.x86.avx512.pshuf.b.512"),
    "look_up_32_avx2": partial(shuffled, lanes=32, name="llvm.x86.avx2.pshuf.b"),
}
