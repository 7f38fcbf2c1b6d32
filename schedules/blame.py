"""Which node of the user's model the compiler fails on, found by compiling its operators one by one.

    main(x) = h(g(f(x)))   fails -->   f(x) compiles; g(v) fails, with v a parameter: the node that g came from

TVM's own passes walk the whole module, and what they raise seldom says where they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import tvm
from tvm import relax

from ..passes.hub.ffi_errors import explained
from ..passes.hub.graph import bindings_of, describe_layer, is_constant, layer_name, main_function
from ..targets.row import TargetRow
from .pipeline import Built, build

Result = TypeVar("Result")

SECONDS = 20
"""The search is given up after so long: an error without a node is better than one that is waited for."""


def failing_layer(mod: tvm.IRModule, build: Callable[[tvm.IRModule], Any]) -> str:
    """Return the name of the first layer with an operator that does not build alone; empty where none is found."""
    deadline = time.monotonic() + SECONDS
    for binding in bindings_of(mod):
        if time.monotonic() > deadline:
            return ""
        if not isinstance(binding.value, relax.Call) or not layer_name(binding.value):
            continue
        try:
            build(_alone(binding.value))
        # Whatever it is: the caller has the error of the whole module, and this finds its place.
        except Exception:
            return layer_name(binding.value)
    return ""


def _alone(call: relax.Call) -> tvm.IRModule:
    """Return a module whose ``main`` is one operator, with parameters for what it reads."""
    params: list[relax.Var] = []

    def given(argument: relax.Expr) -> relax.Expr:
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([given(item) for item in argument.fields])
        if not isinstance(argument, relax.Var) or is_constant(argument):
            return argument
        params.append(relax.Var(f"v{len(params)}", argument.ty))
        return params[-1]

    alone = relax.Call(
        call.op, [given(argument) for argument in call.args], call.attrs, call.ty_args, span=call.span
    )
    builder = relax.BlockBuilder()
    with main_function(builder, params):
        with builder.dataflow():
            result = builder.emit_output(builder.normalize(alone))
        builder.emit_func_output(result)
    return builder.get()


def build_explained(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    row: TargetRow,
    records: Path | None = None,
    cuda_graph: bool = False,
) -> Built:
    """Run ``pipeline.build`` as ``run_explained`` does."""
    return run_explained(partial(build, cuda_graph=cuda_graph), mod, target, row, records)


def run_explained(
    build: Callable[..., Result],
    mod: tvm.IRModule,
    target: tvm.target.Target,
    row: TargetRow,
    records: Path | None = None,
) -> Result:
    """Run ``build``, which takes what ``pipeline.build`` does; an error of TVM's names the node that it is about."""

    def where() -> str:
        return describe_layer(mod, failing_layer(mod, lambda alone: build(alone, target, row)))

    with explained("compiling", where):
        return build(mod, target, row, records)
