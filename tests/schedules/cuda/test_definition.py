"""The steps that are read from a function's blocks: what stays, what is inlined, what is no expression."""

from __future__ import annotations

import pytest
from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from tvmq.errors import TvmqError
from tvmq.passes.realize.compute.scans import scan
from tvmq.schedules.cuda.definition import MOST_ELEMENTS, Definition, Opaque, loads, read

from .te_kernels import placeholder


def definition_of(*tensors: te.Tensor) -> Definition:
    return read(te.create_prim_func(list(tensors)))


def names(definition: Definition) -> list[str]:
    return [step.name if isinstance(step, Opaque) else str(step.buffer.name) for step in definition.steps]


def test_elementwise_steps_become_part_of_their_readers() -> None:
    x = placeholder((3, 5))
    doubled = te.compute(x.shape, lambda i, j: x(i, j) * 2.0, "doubled")
    moved = te.compute((5, 3), lambda i, j: doubled(j, i) + 1.0, "moved")
    definition = definition_of(x, moved)
    (step,) = definition.steps
    assert names(definition) == ["moved"] and step.extents == (5, 3) and not step.is_reduction
    assert [load.source.name for load in loads(step)] == ["data"]


def test_a_reduction_stays_and_what_it_reads_is_inlined() -> None:
    x = placeholder((4, 9))
    k = te.reduce_axis((0, 9), "k")
    squares = te.compute(x.shape, lambda i, j: x(i, j) * x(i, j), "squares")
    total = te.compute((4,), lambda i: te.sum(squares(i, k), axis=k), "total")
    root = te.compute((4,), lambda i: te.sqrt(total(i)), "root")
    definition = definition_of(x, root)
    assert names(definition) == ["total", "root"]
    step = definition.steps[0]
    assert (step.extents, step.tap_extents, step.length, step.combine) == ((4,), (9,), 9, tirx.Add)
    assert {load.source.name for load in loads(step)} == {"data"}


def test_a_reduction_of_one_term_is_none() -> None:
    x = placeholder((4, 1))
    k = te.reduce_axis((0, 1), "k")
    definition = definition_of(x, te.compute((4,), lambda i: te.max(x(i, k), axis=k), "most"))
    assert not definition.steps[0].is_reduction


def test_variables_have_32_bits() -> None:
    x = placeholder((4, 6))
    step = definition_of(x, te.compute((24,), lambda i: x(i // 6, i % 6), "flat")).steps[0]
    (load,) = loads(step)
    assert {str(index.ty.dtype) for index in load.indices} == {"int32"}


def test_a_scalar_has_no_axes() -> None:
    x = placeholder((7,))
    k = te.reduce_axis((0, 7), "k")
    total = te.compute((), lambda: te.sum(x(k), axis=k), "total")
    definition = definition_of(x, te.compute((), lambda: total() + 1.0, "result"))
    assert [step.axes for step in definition.steps] == [(), ()]


def test_the_smallest_index_is_a_reduction_of_32_bits() -> None:
    """TE counts in 64 bits, and narrows each minimum of two."""
    x = placeholder((3, 50))
    k = te.reduce_axis((0, 50), "k")
    where = te.compute(
        (3,),
        lambda i: te.min(
            tirx.if_then_else(x(i, k) > 0, k.var.astype("int32"), tirx.const(49, "int32")), axis=k
        ),
        "where",
    )
    (step,) = definition_of(x, where).steps
    assert (step.combine, str(step.value.ty.dtype)) == (tirx.Min, "int32")


def test_parts_of_a_result_are_steps() -> None:
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        x, y, both = (
            T.arg(name, T.buffer((rows, 4), "int8")) for name, rows in (("x", 2), ("y", 3), ("both", 5))
        )
        with T.sblock("root"):
            for source, rows, first in ((x, 2, 0), (y, 3, 2)):
                with T.grid(rows, 4) as (i, j), T.sblock(f"part{first}"):
                    row, column = T.axis.remap("SS", [i, j])
                    T.buffer_store(both, source[row, column], [row + first, column])
    definition = read(builder.get())
    assert [step.extents for step in definition.steps] == [(2, 4), (3, 4)]
    assert [step.is_part for step in definition.steps] == [True, True]


def test_statements_stay_as_they_are() -> None:
    (step,) = read(scan(3, 5, 2, "float32", lambda a, b: a + b, 0, False)).steps
    assert isinstance(step, Opaque)
    assert (step.name, step.extents, len(step.own)) == ("scan", (3,), 1)
    assert [buffer.name for buffer in step.writes if buffer not in step.own] == ["result"]


def test_tensors_that_32_bits_do_not_count_are_refused() -> None:
    x = placeholder((1 << 16, 1 << 15))
    with pytest.raises(
        TvmqError, match=rf"tensor data \[65536, 32768\] has 2147483648 elements.*{MOST_ELEMENTS}"
    ):
        definition_of(x, te.compute(x.shape, lambda i, j: -x(i, j)))


def test_a_function_without_blocks_is_refused() -> None:
    with IRBuilder() as builder, T.prim_func():
        T.arg("x", T.buffer((4,), "int8"))
        T.evaluate(0)
    with pytest.raises(ValueError, match="no blocks"):
        read(builder.get())
