"""The code of each intrinsic of 64-bit ARM computes what its meaning says, on any operands.

The codes of a row make one program, which QEMU runs; its meanings make the same one for this machine. It reads the
operands of every case, calls the kernels on them, and writes back what they have become.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import tirx
from tvm.target import Target

from tvmq.runtime.c_library.tools import Tools
from tvmq.schedules.c_library.functions import lower_to_c
from tvmq.schedules.code import compile_parts
from tvmq.schedules.lowering import ALIGNMENT
from tvmq.targets import host
from tvmq.targets.bit_products import PADDING, TAIL
from tvmq.targets.features import row_of
from tvmq.targets.intrinsics import built, names_of
from tvmq.targets.parse import parse_target
from tvmq.targets.rows import ROWS

CPUS = {"aarch64-neon": "cortex-a72", "aarch64-dotprod": "cortex-a76"}
"""CPUs that lack the instructions of better rows; for other rows QEMU emulates one that has them all."""
CASES = 24
SLACK = 5
"""Elements between the rows of a buffer whose strides are open."""

Kernels = Mapping[str, tirx.PrimFunc]

MAIN = """
#include <stdio.h>
{declarations}
static _Alignas({alignment}) unsigned char memory[{size}];
int main(void) {{
  if (fread(memory, 1, {size}, stdin) != {size}) return 1;
  {calls}
  return fwrite(memory, 1, {size}, stdout) != {size};
}}
"""


def kernel_of(func: tirx.PrimFunc, name: str) -> tirx.PrimFunc:
    """Return a meaning or a code as a kernel, whose buffers start where their pointers point."""

    def plain(buffer: tirx.Buffer) -> tirx.Buffer:
        shape, strides = [int(extent) for extent in buffer.shape], []
        if len(buffer.strides):
            row = shape[-1] + SLACK
            strides = [*(math.prod(shape[axis:-1]) * row for axis in range(1, len(shape))), 1]
        return tirx.decl_buffer(shape, buffer.dtype, buffer.name, strides=strides)

    buffers = {buffer: plain(buffer) for buffer in func.params}
    mapped = tvm_ffi.structural_map(func, [(tvm.ir.Var, lambda var: buffers.get(var, var))])
    return mapped.with_attr("global_symbol", name)


def draw(buffer: tirx.Buffer, name: str, case: int, place: int, rng: np.random.Generator) -> np.ndarray:
    """Return what lies in a buffer: the ends of the range, in every combination with other buffers, or any numbers."""
    shape = [int(extent) for extent in buffer.shape]
    size = shape[0] * int(buffer.strides[0]) if len(buffer.strides) else math.prod(shape)
    limits = np.iinfo(str(buffer.dtype))
    if limits.kind == "u" and name.startswith("bits_"):  # codes, and weights of four bits
        tail = int(name.rpartition("_")[2])
        codes = [*range(0, PADDING, 16), PADDING, *(range(TAIL, TAIL + 256, 16) if tail else ())]
        return rng.choice(np.array(codes if limits.bits == 16 else range(16), limits.dtype), size)
    # Accumulators have room for what is added: overflow of int32 is undefined.
    least, greatest = (
        int(limit) // 2 if limits.bits == 32 else int(limit) for limit in (limits.min, limits.max)
    )
    if case < 8:
        return np.full(size, (least, greatest)[case >> place & 1], limits.dtype)
    if case < 16:
        return rng.choice(np.array([least, greatest], limits.dtype), size)
    return rng.integers(least, greatest, size, limits.dtype, endpoint=True)


@dataclass(frozen=True)
class Operands:
    """What all kernels run on.

    Attributes
    ----------
    cases : of each call, the kernel's name and where its operands lie.
    memory : the operands, one behind the other, as bytes.
    """

    cases: list[tuple[str, list[int]]]
    memory: np.ndarray


def draw_operands(kernels: Kernels) -> Operands:
    """Return ``CASES`` cases for each kernel."""
    rng, cases, memory = np.random.default_rng(0), [], bytearray()
    for name, kernel in kernels.items():
        for case in range(CASES):
            places = []
            for place, buffer in enumerate(kernel.params):
                places.append(len(memory))
                memory += draw(buffer, name, case, place, rng).tobytes()
                memory += bytes(-len(memory) % ALIGNMENT)
            cases.append((name, places))
    return Operands(cases, np.frombuffer(bytes(memory), np.uint8))


def run(
    kernels: Kernels,
    operands: Operands,
    target: Target,
    tools: Tools,
    folder: Path,
    launcher: Sequence[str] = (),
) -> np.ndarray:
    """Return the memory after the kernels have run on every case; the folder is made."""
    folder.mkdir()
    objects = []
    for _, code in compile_parts(tvm.IRModule(dict(kernels)), target, lower_to_c):
        objects.append(folder / f"{len(objects)}.o")
        code.write_to_file(str(objects[-1]))
    declarations = [
        f"void {name}({', '.join(['void *'] * len(kernel.params))});" for name, kernel in kernels.items()
    ]
    calls = [f"{name}({', '.join(f'memory + {at}' for at in case)});" for name, case in operands.cases]
    source = MAIN.format(
        declarations="\n".join(declarations),
        calls="\n  ".join(calls),
        alignment=ALIGNMENT,
        size=operands.memory.size,
    )
    (folder / "main.c").write_text(source)
    subprocess.run([tools.compiler, "main.c", *objects, "-o", "run"], cwd=folder, check=True)
    command = [*launcher, folder / "run"]
    done = subprocess.run(command, input=operands.memory.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8)


@pytest.mark.parametrize("row", [row for row in ROWS if row.arch == "aarch64"], ids=lambda row: row.name)
def test_each_code_computes_what_its_meaning_says(row, emulator, c_tools, tmp_path):
    features = ",".join(f"+{feature}" for feature in row.features)
    target = parse_target(f"llvm -mtriple=aarch64-linux-gnu -mattr={features}")
    assert row_of(target).name == row.name
    pairs = {name: built(name) for name in names_of(row)}
    meanings = {name: kernel_of(meaning, name) for name, (meaning, _) in pairs.items()}
    codes = {name: kernel_of(code, name) for name, (_, code) in pairs.items()}
    operands = draw_operands(meanings)
    launcher = emulator("aarch64", CPUS.get(row.name, "max"))
    expected = run(
        meanings, operands, parse_target("llvm"), c_tools(host.architecture()), tmp_path / "meanings"
    )
    found = run(codes, operands, target, c_tools("aarch64"), tmp_path / "codes", launcher)
    assert (expected != operands.memory).any()
    starts = [places[0] for _, places in operands.cases]
    wrong = np.searchsorted(starts, np.flatnonzero(found != expected), side="right") - 1
    assert not {operands.cases[case][0] for case in wrong}
