"""The machine code of products of bits: products, reads and copies in the loop, and two instructions a register."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import te, tirx

from tvmq.bench.cuda import machine_code
from tvmq.bench.cuda.machine_code import Code, count
from tvmq.errors import TvmqError
from tvmq.passes.realize.compute.binary import Threshold
from tvmq.passes.realize.compute.contraction import Conv2d
from tvmq.passes.realize.realizers.binary_layers import kernel_of
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.start import start_from_offset
from tvmq.targets.cuda.archs import capability
from tvmq.targets.row import TargetRow
from tvmq.targets.rows import GPU_ROWS

ROWS = {row.name: row for row in GPU_ROWS}


def code_of(
    row: TargetRow, arch: str, shape: tuple[int, int, int, int], out_channels: int, kernel: int
) -> Code:
    """Return the code of a convolution of so many channels, whose result is bits."""
    try:
        known = nvcc.known_archs(nvcc.find_nvcc())
    except TvmqError:
        pytest.skip("there is no nvcc")
    if capability(arch) not in known or machine_code.find_nvdisasm() is None:
        pytest.skip(f"there is no nvcc for {arch}, or no nvdisasm")
    batch, height, width, channels = shape
    weight = np.ones((out_channels, channels, kernel, kernel), np.int8)
    geometry = Conv2d((1, 1), (kernel // 2,) * 4, (1, 1), 1, (kernel, kernel), out_channels)
    thresholds = [np.zeros(out_channels, np.int32)]
    made = kernel_of(row, geometry, (height, width), channels, True, weight, thresholds, Threshold())
    arrays = [np.zeros((batch, height, width, channels // 8), np.uint8), *made.constants]
    inputs = [
        te.placeholder([tirx.IntImm("int64", n) for n in array.shape], str(array.dtype), name=f"p{place}")
        for place, array in enumerate(arrays)
    ]
    func = te.create_prim_func([*inputs, made.define(*inputs)]).with_attr("global_symbol", "main")
    codes = machine_code.disassembled({"k": cuda_kernel(start_from_offset(func), row)}, arch)
    return next(iter(codes.values()))


LARGE = ((32, 28, 28, 1024), 256, 3)


@pytest.mark.parametrize(("arch", "products"), [("sm_80", 64), ("sm_75", 256), ("sm_89", 64)])
def test_products_of_bits(arch, products):
    """128 x 256 results of 512 places a stage: a warp has 64 x 64."""
    loop = code_of(ROWS[arch], arch, *LARGE).loop_of("BMMA")
    assert count(loop, "BMMA") == products and count(loop, r"LDSM\.16\.M88\.4") == 16
    assert len(loop) - products < 110


@pytest.mark.parametrize("arch", ["sm_90", "sm_90a"])
def test_bits_are_unpacked_by_two_instructions(arch):
    """128 x 128 results of 1024 places: a warp has 64 x 32, and unpacks 16 + 8 registers for 16 products."""
    code = code_of(ROWS[arch], arch, *LARGE)
    loop = code.loop_of("IMMA")
    assert count(loop, "IMMA") == 512
    registers = 512 // 16 * 24
    assert registers <= count(loop, "LOP3") < registers + 30
    assert count(loop, "IMAD.SHL") + count(loop, "SHF") <= registers * 7 // 8 + 30


def test_counts():
    """Of 16 bytes: 4 words are compared, a full adder makes 3 of them 2; popc is the slowest."""
    loop = code_of(ROWS["sm_61"], "sm_75", *LARGE).loop_of("POPC")
    found = count(loop, "POPC")
    assert found % 3 == 0 and 6 * found // 3 <= count(loop, "LOP3") < 6 * found // 3 + 30


def test_few_rows_read_16_bytes_a_lane():
    code = code_of(ROWS["sm_90a"], "sm_90a", (1, 1, 1, 16384), 1024, 1)
    loop = code.loop_of("POPC")
    assert count(loop, r"LDG\.E\.128") == count(loop, "LDG") == 9
    assert count(loop, "POPC") == 24 and not code.count("STL|LDL")
