"""What a stage of a product costs each part of a multiprocessor, counted in its machine code.

    cycles of a stage = the most of: tensor cores, issue slots, shared memory, second-level cache

``docs/cuda-kernels.md`` explains the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...targets.features import row_of
from ...targets.parse import parse_target
from ..tables import Table
from .kernels import int8_product
from .machine_code import Code, Instruction, count, disassembled, kinds

PARTITIONS = 4
"""Of a multiprocessor, each with an issue slot a cycle and a tensor core."""
SHARED_BYTES = 128
"""Of a multiprocessor, a cycle."""
SIZE = 4096


@dataclass(frozen=True)
class Rates:
    """What a multiprocessor has a cycle.

    Attributes
    ----------
    macs : products of int8 by ``mma.sync``.
    peak : products of int8 by the fastest instruction that there is.
    cache_bytes : from the second-level cache, where all multiprocessors read.
    """

    macs: float
    peak: float
    cache_bytes: float


RATES = {
    75: Rates(1024, 1024, 32),
    80: Rates(2048, 2048, 47),
    86: Rates(1024, 1024, 32),
    89: Rates(1024, 1024, 32),
    90: Rates(0.62 * 4096, 4096, 42),
}


@dataclass(frozen=True)
class Stage:
    """A stage of a block.

    Attributes
    ----------
    rows, columns, depth, warps : of the tile.
    code : of the kernel.
    rates : of the chip.
    groups : four warps multiply together, by ``wgmma``.
    """

    rows: int
    columns: int
    depth: int
    warps: int
    code: Code
    rates: Rates
    groups: bool = False

    @property
    def loop(self) -> Sequence[Instruction]:
        return self.code.loop_of("IGMMA|IMMA")

    @property
    def bytes(self) -> int:
        return (self.rows + self.columns) * self.depth

    def cycles(self) -> dict[str, float]:
        """Return the cycles of each part; a block has the multiprocessor to itself."""
        products = self.rows * self.columns * self.depth
        # ldmatrix of four matrices moves 512 bytes; copies write the stage once.
        read = self.warps * count(self.loop, r"LDSM\.16\.M88\.4") * 512
        if self.groups:  # an instruction reads 64 rows and all columns, 32 bytes of each
            read += self.warps // 4 * count(self.loop, "IGMMA") * (64 + self.columns) * 32
        return {
            "tensor cores": products / (self.rates.peak if self.groups else self.rates.macs),
            "issue slots": self.warps * len(self.loop) / PARTITIONS,
            "shared memory": (read + self.bytes) / SHARED_BYTES,
            "second-level cache": self.bytes / self.rates.cache_bytes,
        }


def stage_of(arch: str) -> Stage:
    """Return the stage of the int8 product of 4096 cubed, of the tile that the analytic model takes."""
    from ...schedules.cuda.tiles import candidates

    row = row_of(parse_target(f"cuda -arch={arch}"))
    tile = candidates(SIZE, SIZE, SIZE, 1, 1, 8, 8, row.gpu)[0]
    (call,) = int8_product(SIZE, SIZE, SIZE).calls(row)
    (code,) = disassembled({"product": call.function}, arch).values()
    rates = RATES[row.gpu.capability]
    return Stage(tile.rows, tile.columns, tile.depth, tile.threads // 32, code, rates, row.gpu.warpgroups)


def tables(archs: Sequence[str]) -> dict[str, Table]:
    """Return a table an architecture, by its title; raises ``TvmqError`` where nvcc or nvdisasm is missing."""
    found = {}
    for arch in archs:
        stage = stage_of(arch)
        cycles = stage.cycles()
        slowest = max(cycles.values())
        parts = kinds(stage.loop)
        counts = ", ".join(f"{number} {name}" for name, number in parts.most_common(6))
        title = (
            f"{arch}: {stage.rows} x {stage.columns} x {stage.depth} by {stage.warps} warps, "
            f"{stage.code.registers} registers; {len(stage.loop)} instructions a warp: {counts}"
        )
        ideal = stage.rows * stage.columns * stage.depth / stage.rates.peak
        rows = [(name, f"{each:.0f}", f"{100 * each / slowest:.0f}") for name, each in cycles.items()]
        rows.append(("peak of the chip", f"{ideal:.0f}", f"{100 * ideal / slowest:.0f}"))
        found[title] = Table(("function", "cycles a stage", "% of the slowest"), rows)
    return found
