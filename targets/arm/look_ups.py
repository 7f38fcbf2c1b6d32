"""Looking up vectors of bytes in a table of 256, on ARM."""

from __future__ import annotations

import functools
import operator

from tvm import tirx
from tvm.script import tirx as T

from ..code import LookUpBytes, call

_TABLE = "llvm.aarch64.neon.tbl4.v16i8"


def tables(data: tirx.Expr, table: tirx.Buffer) -> tirx.Expr:
    """Look up by ``tbl``, which takes 64 entries, and gives 0 for what others have."""

    def entries(first: int) -> tirx.Expr:
        registers = [table.vload([first + place], "uint8x16") for place in range(0, 64, 16)]
        return call(_TABLE, "uint8x16", *registers, data - T.broadcast(tirx.const(first, "uint8"), 16))

    return functools.reduce(operator.or_, [entries(first) for first in range(0, 256, 64)])


LOOK_UPS: dict[str, LookUpBytes] = {"look_up_16_neon": tables}
