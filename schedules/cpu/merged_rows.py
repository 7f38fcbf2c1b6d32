"""Results of products whose rows are those of several axes, as rows of one.

    out[b, m, n] = f(sums[b * 49 + m, n])      -->     out[r // 49, r % 49, n] = f(sums[r, n])

A register tile then takes rows that follow each other in memory, whichever axes they belong to: 196 of four times 49,
which tiles of four rows divide and 49 do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Range
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import SBlockRV
from tvm.sym import Analyzer

from ...passes.realize.compute.contraction import ravelled


def merge_rows(sch: Schedule, result: SBlockRV, columns: int) -> None:
    """Make a loop over rows, and one over the ``columns`` of a row, of the block's loops, in the order of memory."""
    shape = _shape(sch, result)
    cut = _cut(shape, columns)
    assert cut is not None, "keeps_order says so"

    def merged(*index: tirx.Var) -> list[tirx.Expr]:
        return [ravelled(index[:cut], shape[:cut]), ravelled(index[cut:], shape[cut:])]

    dtype = str(sch.get(result).iter_vars[0].var.ty)
    sch.transform_block_layout(result, tirx.IndexMap.from_func(merged, ndim=len(shape), index_dtype=dtype))


def keeps_order(sch: Schedule, block: SBlockRV, read: Sequence[tirx.Buffer], columns: int) -> bool:
    """Tell whether an elementwise block writes what it reads of these buffers in the same order of memory, by rows."""
    own = sch.get(block)
    regions = [region for region in own.reads if any(region.source.same_as(buffer) for buffer in read)]
    shape = _shape(sch, block)
    if not regions:
        return True
    if _cut(shape, columns) is None:
        return False
    analyzer = Analyzer()
    for var in own.iter_vars:
        analyzer.bind(var.var, Range.from_min_extent(var.dom.min, var.dom.extent))
    place = ravelled([var.var for var in own.iter_vars], shape)
    return all(
        analyzer.can_prove_equal(
            ravelled([each.min for each in region.region], _extents(region.source)), place
        )
        for region in regions
    )


def _shape(sch: Schedule, block: SBlockRV) -> list[int]:
    return _extents(sch.get(block).writes[0].source)


def _extents(buffer: tirx.Buffer) -> list[int]:
    return [int(extent) for extent in buffer.shape]


def _cut(shape: Sequence[int], columns: int) -> int | None:
    """Return how many leading axes count the rows of so many numbers; None where no axis begins with a row."""
    return next((cut for cut in range(len(shape)) if math.prod(shape[cut:]) == columns), None)
