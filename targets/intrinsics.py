"""Tensor intrinsics of the target rows, by name: what each means and its code.

They are built on first use and kept: parsing one costs tens of milliseconds, and most programs need one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from tvm.s_tir import TensorIntrin
from tvm.tirx import PrimFunc

from .arm.intrinsics import INTRINSICS as ARM
from .bit_intrinsics import INTRINSICS as BITS
from .bit_intrinsics import LLVM_CODE as BITS_CODE
from .bit_intrinsics import TAILS
from .row import TargetRow
from .x86.intrinsics import INTRINSICS as X86
from .x86.intrinsics import LLVM_CODE as X86_CODE

INTRINSICS = {**X86, **ARM, **BITS}
"""Those of all architectures: name -> ``() -> (meaning, code)``."""

LLVM_CODE = {**X86_CODE, **BITS_CODE}
"""Functions that their code calls: name -> LLVM's assembly."""


@cache
def built(name: str) -> tuple[PrimFunc, PrimFunc]:
    """Return the meaning and the code of an intrinsic.

    Raises
    ------
    KeyError : there is no such intrinsic.
    """
    # TVM's parser looks up the source of every caller, and a thread has few.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(INTRINSICS[name]).result()


@cache
def register(name: str) -> str:
    """Make the intrinsic known to TVM, once, and return its name there.

    Raises
    ------
    KeyError : there is no such intrinsic.
    """
    tvm_name = f"tvmq.{name}"
    TensorIntrin.register(tvm_name, *built(name), override=True)
    return tvm_name


def names_of(row: TargetRow) -> list[str]:
    """Return the names of every intrinsic of a row."""
    names = [name for dot in row.dots for name in (dot.intrinsic, dot.widened)]
    names += [dot.intrinsic for dot in row.packed_dots]
    names += [name for dot in row.matrix_dots for name in (dot.intrinsic, dot.into_rows)]
    names += [dot.look_up(tail) for dot in row.bit_dots for tail in TAILS]
    if row.narrow_dot is not None:
        names += [row.narrow_dot.product, row.narrow_dot.widen]
    if row.lane_dot is not None:
        names += [row.lane_dot.intrinsic, row.lane_dot.interleave]
    names += [dot.intrinsic for dot in row.float_dots]
    return [name for name in dict.fromkeys(names) if name]  # a GPU has no code of LLVM for its own


def register_all(row: TargetRow) -> None:
    """Make every intrinsic of a row known to TVM: schedules that were made elsewhere name them."""
    for name in names_of(row):
        register(name)
