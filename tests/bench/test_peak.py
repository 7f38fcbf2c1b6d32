"""The loops without memory add up what they say, so nothing of them was optimised away, and are timed."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from tvmq.bench import peak
from tvmq.bench.peak import INSTRUCTIONS, Instruction
from tvmq.errors import TvmqError
from tvmq.targets.features import features_of, row_of
from tvmq.targets.parse import parse_target
from tvmq.targets.rows import ROWS

TARGETS = {
    "x86-avx512vnni": "znver4",
    "x86-avxvnni": "alderlake",
    "x86-avx512": "skylake-avx512",
    "x86-avx2": "haswell",
}
CASES = [(row, instruction) for row, instructions in INSTRUCTIONS.items() for instruction in instructions]


@pytest.mark.parametrize(("name", "instruction"), CASES, ids=[f"{row}, {it.name}" for row, it in CASES])
def test_the_loop_adds_up(name: str, instruction: Instruction) -> None:
    target = parse_target(f"llvm -mcpu={TARGETS[name]}")
    row = row_of(target)
    assert row.name == name
    if not features_of(parse_target("llvm -mcpu=native")).issuperset(row.features):
        pytest.skip(f"this machine has no {' '.join(row.features)}")
    rng = np.random.default_rng(0)
    operands = instruction.lanes * instruction.depth
    data = rng.integers(0, 3, (2, operands)).astype(instruction.dtype)
    weight = rng.integers(-128, 128, (3, operands)).astype(instruction.dtype)
    sums = np.zeros((2, 3, instruction.lanes), "float32" if instruction.dtype == "float32" else "int32")
    library = tvm.compile(tvm.IRModule({"main": peak.kernel(instruction, 2, 3)}), target=target)
    result = tvm.runtime.tensor(sums)
    library["main"](tvm.runtime.tensor(data), tvm.runtime.tensor(weight), result)
    steps = np.arange(1, peak.STEPS + 1) if instruction.is_hoistable else np.zeros(peak.STEPS)
    expected = sums.astype(np.int64)
    values, counts = np.unique(steps.astype(np.int64) % 65536, return_counts=True)
    for value, count in zip(values, counts, strict=True):
        changed = (weight.astype(np.int64) + value).astype(instruction.dtype).astype(np.int64)
        if instruction.repeats == 2:
            changed = (
                changed + changed % 256
            )  # with its operands exchanged, the weights are the unsigned ones
        products = data.astype(np.int64)[:, None] * changed[None]
        expected += count * products.reshape(*expected.shape, instruction.depth).sum(-1)
    # Floats too: 100000 * 2 * 128 is an even number below 2**25, and so is every sum before it or its half.
    np.testing.assert_array_equal(result.numpy(), expected)


def test_a_row_without_a_known_peak_is_refused() -> None:
    neon = next(row for row in ROWS if row.name == "aarch64-neon")
    with pytest.raises(TvmqError, match="unknown peak of the target row 'aarch64-neon'"):
        peak.instruction_of(neon, is_int8=True)
