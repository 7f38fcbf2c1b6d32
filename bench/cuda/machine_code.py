"""The machine code of kernels: compiled by nvcc, read back by nvdisasm, with what it takes of a multiprocessor.

scheduled functions  --nvcc-->  cubin, ptxas' report  --nvdisasm-->  instructions, loops, registers
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tvm
from tvm import tirx

from ...errors import TvmqError
from ...schedules.cuda import nvcc
from ...schedules.cuda.device_code import source_module
from ...schedules.cuda.lowering import lower
from ...targets.cuda.wheels import wheel_folders
from ...targets.parse import parse_target
from ...targets.row import Gpu

REGISTERS = 65536
"""Of a multiprocessor."""
REGISTERS_TOGETHER = 256
"""A warp gets multiples of so many."""
MOST_BLOCKS = {75: 16, 86: 16, 89: 24, 120: 24}
"""Blocks that a multiprocessor can have at a time; 32 of all others."""
RESERVED_SHARED_BYTES = 1024
"""Of a block, from 8.0 on."""

_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+((?:@!?U?P\w+\s+)?)([A-Z][\w.]*)([^;]*);")


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``LDG.E.128.CONSTANT R4, [R2.64]`` has the opcode ``LDG.E.128.CONSTANT``."""

    address: int
    opcode: str
    operands: str
    guard: str = ""


@dataclass(frozen=True)
class Code:
    """A kernel's machine code.

    Attributes
    ----------
    name : of the kernel.
    instructions : in order.
    labels : address of each.
    registers, stack_bytes, spilled_bytes, static_bytes : of a thread the first three, of a block the last.
    """

    name: str
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]
    registers: int
    stack_bytes: int
    spilled_bytes: int
    static_bytes: int

    def count(self, pattern: str) -> int:
        """Return how many instructions have an opcode that begins with the pattern."""
        return count(self.instructions, pattern)

    @cached_property
    def loops(self) -> list[tuple[Instruction, ...]]:
        """Innermost loops: what lies between a branch backwards and where it leads."""
        spans = []
        for instruction in self.instructions:
            label = re.search(r"(\.L_x?_?\w+)", instruction.operands)
            if instruction.opcode.startswith("BRA") and label is not None:
                start = self.labels.get(label[1], instruction.address)
                if start < instruction.address:
                    spans.append((start, instruction.address))
        inner = [
            span
            for span in spans
            if not any(span != other and span[0] <= other[0] and other[1] <= span[1] for other in spans)
        ]
        return [
            tuple(each for each in self.instructions if start <= each.address <= end) for start, end in inner
        ]

    def loop_of(self, pattern: str) -> tuple[Instruction, ...]:
        """Return the innermost loop that has most instructions of an opcode; all of the code where none has any."""
        most = max(self.loops, key=lambda loop: count(loop, pattern), default=())
        return most if count(most, pattern) else self.instructions

    def blocks(self, threads: int, shared_bytes: int, gpu: Gpu) -> int:
        """Return how many blocks of so many threads and bytes of shared memory a multiprocessor has at a time."""
        warps = -(-threads // 32)
        of_warp = -(-self.registers * 32 // REGISTERS_TOGETHER) * REGISTERS_TOGETHER
        # Each of the four parts of a multiprocessor has a quarter of the registers.
        by_registers = REGISTERS // 4 // of_warp * 4 // warps
        reserved = RESERVED_SHARED_BYTES if gpu.capability >= 80 else 0
        by_shared = gpu.shared_bytes // max(1, shared_bytes + self.static_bytes + reserved)
        most = MOST_BLOCKS.get(gpu.capability, 32)
        return min(by_registers, by_shared, gpu.threads // threads, most)


def count(instructions: Sequence[Instruction], pattern: str) -> int:
    """Return how many of the instructions have an opcode that begins with a regular expression."""
    return sum(re.match(pattern, each.opcode) is not None for each in instructions)


def kinds(instructions: Sequence[Instruction]) -> Counter[str]:
    """Return how often each opcode occurs, without what follows its first point."""
    return Counter(each.opcode.split(".")[0] for each in instructions)


def find_nvdisasm() -> str | None:
    """Return the path of the disassembler: on the ``PATH``, or of the wheel ``nvidia-cuda-nvdisasm``; None for none."""
    found = shutil.which("nvdisasm")
    if found is not None:
        return found
    inside = (path for folder in wheel_folders() for path in folder.glob("c*/bin/nvdisasm"))
    return next((str(path) for path in inside if shutil.which(path)), None)


def source_of(functions: Mapping[str, tirx.PrimFunc], arch: str) -> str:
    """Return the CUDA source of scheduled functions; their kernels are ``NAME_kernel``, ``NAME_kernel_1``, ..."""
    target = parse_target(f"cuda -arch={arch}")
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    _, device = lower(tvm.IRModule(named), target)
    return str(source_module(device, target).inspect_source("cuda")).replace(*nvcc.ALIGNED)


def disassembled(functions: Mapping[str, tirx.PrimFunc], arch: str) -> dict[str, Code]:
    """Return the machine code of each kernel of scheduled functions, all compiled at once.

    Raises
    ------
    TvmqError : a tool is missing or fails.
    """
    disassembler = find_nvdisasm()
    if disassembler is None:
        raise TvmqError("looking at machine code needs nvdisasm: pip install nvidia-cuda-nvdisasm")
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        (Path(folder) / "kernels.cu").write_text(source_of(functions, arch))
        command = [nvcc.find_nvcc(), *nvcc.FLAGS, f"-arch={arch}", "-Xptxas", "-v", "-include", nvcc.HEADER]
        report = _output([*command, "-cubin", "-o", "kernels.cubin", "kernels.cu"], folder)
        listing = _output([disassembler, "kernels.cubin"], folder)
    return read_listing(listing, report)


def read_listing(listing: str, report: str) -> dict[str, Code]:
    """Return the code of each kernel, from nvdisasm's text and ptxas' report."""
    parts = re.split(r"^\.text\.(\w+):", listing, flags=re.MULTILINE)
    reports = re.split(r"Compiling entry function '(\w+)'", report)
    resources = dict(zip(reports[1::2], reports[2::2], strict=True))
    return {
        name: _code(name, text, resources.get(name, ""))
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def _code(name: str, text: str, resources: str) -> Code:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    waiting: list[str] = []
    for line in text.splitlines():
        if (label := re.match(r"(\.L\w+):", line)) is not None:
            waiting.append(label[1])
        elif line.startswith("\t.section") or line.startswith(".section"):
            break
        elif (match := _INSTRUCTION.search(line)) is not None:
            address, guard, opcode, operands = match.groups()
            instructions.append(Instruction(int(address, 16), opcode, operands.strip(), guard.strip()))
            labels.update(dict.fromkeys(waiting, int(address, 16)))
            waiting = []

    def number(pattern: str) -> int:
        found = re.search(pattern, resources)
        return int(found[1]) if found else 0

    spilled = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    return Code(
        *(name, tuple(instructions), labels, number(r"Used (\d+) registers")),
        *(number(r"(\d+) bytes stack frame"), spilled, number(r"(\d+) bytes smem")),
    )


def _output(command: Sequence[object], folder: str) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TvmqError(f"{command[0]} fails: {(done.stderr or done.stdout).strip().splitlines()[:1]}")
    return done.stdout + done.stderr
