"""What the CPU can do at most: a loop of one instruction that touches registers only.

    accumulator[i, j] += data[i] * weight[j]        for every i < rows, j < columns, again and again

There are as many independent accumulators as the tile has places, so that each step of one can wait for its own last
step while the others go on. Which tile hides the latency and still fits the registers depends on the CPU: the peak is
that of the fastest. Where a product does not depend on its accumulator, LLVM would take it out of the loop; so the
weights change from step to step, which costs one more addition a column.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm
from tvm import tirx
from tvm.script import tirx as T

from ..errors import unknown
from ..targets.row import TargetRow
from .latency import Timer

TILES = ((4, 1), (6, 1), (2, 3), (4, 2), (5, 2), (3, 4))
"""Rows and columns of the tiles that are tried."""
STEPS = 100_000
Step = Callable[[tirx.Expr, tirx.Expr, tirx.Expr], tirx.Expr]
"""``(accumulator, data, weight) -> accumulator``, each a vector register."""


def _call(name: str, dtype: str, *arguments: tirx.Expr) -> tirx.Expr:
    return T.call_llvm_pure_intrin(T.llvm_lookup_intrinsic_id(name), *arguments, dtype=dtype)


def _accumulating(name: str, accumulator: tirx.Expr, data: tirx.Expr, weight: tirx.Expr) -> tirx.Expr:
    return _call(name, accumulator.ty.dtype, accumulator, data, weight)


def _added(name: str, accumulator: tirx.Expr, data: tirx.Expr, weight: tirx.Expr) -> tirx.Expr:
    return accumulator + _call(name, accumulator.ty.dtype, data, weight)


def _paired(pairs: str, sums: str, accumulator: tirx.Expr, data: tirx.Expr, weight: tirx.Expr) -> tirx.Expr:
    words = 2 * accumulator.ty.dtype.lanes
    products = _call(pairs, f"int16x{words}", data, weight)
    return accumulator + _call(sums, accumulator.ty.dtype, products, T.broadcast(T.int16(1), words))


def _paired_twice(
    pairs: str, sums: str, accumulator: tirx.Expr, data: tirx.Expr, weight: tirx.Expr
) -> tirx.Expr:
    """Add two products in int16 before they are widened; the second has its operands exchanged, to be another."""
    words = 2 * accumulator.ty.dtype.lanes
    products = _call(pairs, f"int16x{words}", data, weight) + _call(pairs, f"int16x{words}", weight, data)
    return accumulator + _call(sums, accumulator.ty.dtype, products, T.broadcast(T.int16(1), words))


def _fused(accumulator: tirx.Expr, data: tirx.Expr, weight: tirx.Expr) -> tirx.Expr:
    return _call("llvm.fma", accumulator.ty.dtype, data, weight, accumulator)


@dataclass(frozen=True)
class Instruction:
    """One way to multiply and add vectors.

    Attributes
    ----------
    name : as the tables show it.
    lanes : accumulators in a register.
    depth : products that each lane gains a step.
    dtype : of data and weights; accumulators are 32 bits wide.
    step : see ``Step``.
    is_hoistable : part of the step does not depend on the accumulator.
    repeats : how often a step multiplies its operands.
    """

    name: str
    lanes: int
    depth: int
    dtype: str
    step: Step
    is_hoistable: bool = False
    repeats: int = 1


_PMADD_512 = ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512")
_PMADD_256 = ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd")
_FLOAT_512 = Instruction("fma, 512 bit", 16, 1, "float32", _fused)
_FLOAT_256 = Instruction("fma, 256 bit", 8, 1, "float32", _fused)
_VNNI_512 = partial(_accumulating, "llvm.x86.avx512.vpdpbusd.512")
_VNNI_256 = partial(_accumulating, "llvm.x86.avx512.vpdpbusd.256")

INSTRUCTIONS: dict[str, tuple[Instruction, ...]] = {
    "x86-avx512vnni": (Instruction("vpdpbusd, 512 bit", 16, 4, "int8", _VNNI_512), _FLOAT_512),
    "x86-avxvnni": (Instruction("vpdpbusd, 256 bit", 8, 4, "int8", _VNNI_256), _FLOAT_256),
    "x86-avx512": (
        Instruction(
            *("2 pmaddubsw + pmaddwd, 512 bit", 16, 4, "int8", partial(_paired_twice, *_PMADD_512)),
            is_hoistable=True,
            repeats=2,
        ),
        Instruction("pmaddubsw + pmaddwd, 512 bit", 16, 4, "int8", partial(_paired, *_PMADD_512), True),
        Instruction("pmaddwd, 512 bit", 16, 2, "int16", partial(_added, _PMADD_512[1]), True),
        _FLOAT_512,
    ),
    "x86-avx2": (
        Instruction(
            *("2 pmaddubsw + pmaddwd, 256 bit", 8, 4, "int8", partial(_paired_twice, *_PMADD_256)),
            is_hoistable=True,
            repeats=2,
        ),
        Instruction("pmaddubsw + pmaddwd, 256 bit", 8, 4, "int8", partial(_paired, *_PMADD_256), True),
        Instruction("pmaddwd, 256 bit", 8, 2, "int16", partial(_added, _PMADD_256[1]), True),
        _FLOAT_256,
    ),
}
"""Name of a target's row to its instructions, the fastest integer one first and the float one last."""


def kernel(instruction: Instruction, rows: int, columns: int) -> tirx.PrimFunc:
    """Return ``(data [rows, operands], weight [columns, operands], accumulator [rows, columns, lanes])``'s loop."""
    lanes, operands = instruction.lanes, instruction.lanes * instruction.depth
    dtype, vector = instruction.dtype, f"{instruction.dtype}x{instruction.lanes * instruction.depth}"
    sum_dtype = "float32" if dtype == "float32" else "int32"
    sums = f"{sum_dtype}x{lanes}"
    step = instruction.step

    def changed(weight: tirx.Expr) -> tirx.Expr:
        return weight + T.broadcast(tirx.const(1, dtype), operands) if instruction.is_hoistable else weight

    @T.prim_func(s_tir=True)
    def loop(
        data: T.Buffer((rows, operands), dtype),
        weight: T.Buffer((columns, operands), dtype),
        result: T.Buffer((rows, columns, lanes), sum_dtype),
    ) -> None:
        weights = T.alloc_buffer((columns, operands), dtype)
        totals = T.alloc_buffer((rows, columns, lanes), sum_dtype)
        for j in T.unroll(columns):
            weights[j, T.ramp(0, 1, operands)] = weight.vload([j, 0], vector)
            for i in T.unroll(rows):
                totals[i, j, T.ramp(0, 1, lanes)] = result.vload([i, j, 0], sums)
        for _ in T.serial(STEPS):
            for j in T.unroll(columns):
                weights[j, T.ramp(0, 1, operands)] = changed(weights.vload([j, 0], vector))
                for i in T.unroll(rows):
                    totals[i, j, T.ramp(0, 1, lanes)] = step(
                        totals.vload([i, j, 0], sums),
                        data.vload([i, 0], vector),
                        weights.vload([j, 0], vector),
                    )
        for j in T.unroll(columns):
            for i in T.unroll(rows):
                result[i, j, T.ramp(0, 1, lanes)] = totals.vload([i, j, 0], sums)

    return loop.with_attr("global_symbol", "main")


@dataclass(frozen=True)
class Loop:
    """A compiled loop.

    Attributes
    ----------
    macs : multiplications that a run does.
    timer : times it.
    """

    macs: int
    timer: Timer


def loop_of(instruction: Instruction, tile: tuple[int, int], target: tvm.target.Target) -> Loop:
    """Compile the loop with this tile."""
    rows, columns = tile
    lanes, depth = instruction.lanes, instruction.depth
    module = tvm.compile(tvm.IRModule({"main": kernel(instruction, rows, columns)}), target=target)
    operands = (
        np.zeros((rows, lanes * depth), instruction.dtype),
        np.zeros((columns, lanes * depth), instruction.dtype),
    )
    sums = np.zeros((rows, columns, lanes), "float32" if instruction.dtype == "float32" else "int32")
    arguments = [tvm.runtime.tensor(array) for array in (*operands, sums)]
    main = module["main"]

    def seconds_a_run(number: int) -> float:
        start = time.perf_counter()
        for _ in range(number):
            main(*arguments)
        return (time.perf_counter() - start) / number

    return Loop(STEPS * rows * columns * lanes * depth * instruction.repeats, seconds_a_run)


def instruction_of(row: TargetRow, is_int8: bool) -> Instruction:
    """Return the row's fastest integer instruction, or its float one.

    Raises
    ------
    TvmqError : nothing is known of that row.
    """
    if row.name not in INSTRUCTIONS:
        raise unknown("peak of the target row", row.name, INSTRUCTIONS)
    return INSTRUCTIONS[row.name][0 if is_int8 else -1]


def fastest_loop(instruction: Instruction, target: tvm.target.Target) -> Loop:
    """Return the loop of the tile that does most multiplications a second."""
    loops = [loop_of(instruction, tile, target) for tile in TILES]
    for loop in loops:
        loop.timer(3)
    return max(loops, key=lambda loop: loop.macs / min(loop.timer(1) for _ in range(5)))
