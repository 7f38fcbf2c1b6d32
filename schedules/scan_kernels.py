"""TopK and running sums and products as kernels; TVM would call its optional runtime library for the first.

topk(x, axis)   -->  order [rows, extent], the axis moved to the end and back
cumsum(x, axis) -->  scan [rows, extent, columns]

On GPUs a thread has a row, or, where rows are long and few, a block of threads.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial

from tvm import relax, tirx

from ..passes.hub.graph import dtype_of, shape_of
from ..passes.hub.op_patterns import OPAQUE
from ..passes.realize.compute import scans, team_scans
from ..targets.row import Gpu


def topk(builder: relax.BlockBuilder, call: relax.Call, *, gpu: Gpu | None) -> relax.Expr:
    """Legalize ``relax.topk`` whose result is both values and indices."""
    (data,) = call.args
    shape, dtype = shape_of(data), dtype_of(data)
    axis, count = int(call.attrs.axis) % len(shape), int(call.attrs.k)
    others = [at for at in range(len(shape)) if at != axis]
    rows, extent = math.prod(shape[at] for at in others), shape[axis]
    moved = builder.emit(relax.op.permute_dims(data, [*others, axis]))
    flat = builder.emit(relax.op.reshape(moved, (rows, extent)))
    index_dtype = str(call.attrs.dtype)
    by_team = gpu is not None and _is_long(rows, extent, gpu)
    order = team_scans.order if by_team else scans.order
    function = order(rows, extent, count, dtype, index_dtype, bool(call.attrs.largest))
    types = [relax.TensorType((rows, count), kind) for kind in (dtype, index_dtype)]
    pair = builder.emit(_call(builder, function, "topk", [flat], types))
    back = [*others, axis]
    results = []
    for at in range(2):
        part = builder.emit(relax.TupleGetItem(pair, at))
        unflat = builder.emit(relax.op.reshape(part, (*(shape[other] for other in others), count)))
        results.append(
            builder.emit(relax.op.permute_dims(unflat, [back.index(at) for at in range(len(shape))]))
        )
    return relax.Tuple(results)


def _scan(
    builder: relax.BlockBuilder,
    call: relax.Call,
    *,
    combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
    first: int,
    gpu: Gpu | None,
) -> relax.Expr:
    (data,) = call.args
    shape, dtype = shape_of(data), dtype_of(data)
    axis = int(call.attrs.axis) % len(shape)
    split = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    flat = builder.emit(relax.op.reshape(data, split))
    given = (*split, dtype, combine, first, bool(call.attrs.exclusive))
    if gpu is None:
        function = scans.scan(*given)
    else:
        function = team_scans.scan(*given, is_long=_is_long(split[0] * split[2], split[1], gpu))
    result = _call(builder, function, "scan", [flat], relax.TensorType(split, dtype))
    return relax.op.reshape(builder.emit(result), shape)


def _is_long(rows: int, extent: int, gpu: Gpu) -> bool:
    """Tell whether a GPU has too few rows to keep it busy with a thread for each."""
    return extent >= team_scans.LONG and rows < gpu.multiprocessors * gpu.threads


cumsum = partial(_scan, combine=operator.add, first=0)
cumprod = partial(_scan, combine=operator.mul, first=1)


def _call(
    builder: relax.BlockBuilder,
    function: tirx.PrimFunc,
    name: str,
    args: list[relax.Expr],
    types: relax.TensorType | list[relax.TensorType],
) -> relax.Call:
    return relax.call_tir(builder.add_func(function.with_attr("op_pattern", OPAQUE), name), args, types)
