"""Statements of a definition, with what a kernel has in place of their buffers and variables."""

from __future__ import annotations

from collections.abc import Mapping

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad


def moved(
    part: tirx.Stmt | tirx.Expr,
    buffers: Mapping[tirx.Buffer, tirx.Buffer],
    places: Mapping[tirx.Var, tirx.Expr],
) -> tirx.Stmt | tirx.Expr:
    """Return a statement or expression with other buffers and places."""

    def load(old: TensorLoad) -> tirx.Expr:
        return tirx.BufferLoad(buffers.get(old.source, old.source), old.indices)

    def store(old: tirx.BufferStore) -> tirx.Stmt:
        return tirx.BufferStore(buffers.get(old.buffer, old.buffer), old.value, old.indices)

    rules = [
        (TensorLoad, load),
        (tirx.BufferStore, store),
        (tirx.Var, lambda var: places.get(var, var)),
    ]
    return tvm_ffi.structural_map(part, rules)
