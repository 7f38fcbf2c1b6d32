"""Code of small modules is not optimized, and comes from a file where there is a linker."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.passes.hub.own_code import compiled, own_target, size_of

from ..modules import module, random


@pytest.mark.parametrize(("rows", "level"), [(10922, 0), (10923, 3)])
def test_level(rows, level):
    def body(b, x):
        return b.add(relax.op.add(b.add(relax.op.nn.relu(x)), x))

    mod = module({"x": (rows, 1)}, body)
    assert size_of(mod) == 3 * rows  # what leaves a block is bound once more
    assert own_target(mod).attrs["opt-level"] == level


def _twice(b, x):
    return b.add(relax.op.multiply(x, relax.const(2.0)))


def test_kernels_come_from_a_file():
    machine = compiled(module({"x": (3, 5)}, _twice))
    assert [each.kind for each in machine.module.imports] == ["library"]
    data = random(3, 5)
    np.testing.assert_array_equal(machine["main"](tvm.runtime.tensor(data)).numpy(), 2 * data)


@pytest.mark.parametrize("linker", [None, "false"])
def test_without_a_linker_llvm_makes_them_in_memory(monkeypatch, linker):
    found = linker and shutil.which(linker)
    monkeypatch.setattr(shutil, "which", lambda name: found)
    machine = compiled(module({"x": (3, 5)}, _twice))
    assert [each.kind for each in machine.module.imports] == ["llvm"]
    data = random(3, 5)
    np.testing.assert_array_equal(machine["main"](tvm.runtime.tensor(data)).numpy(), 2 * data)


def test_a_function_that_no_library_has_is_left_to_llvm():
    """Conversions of float16 are functions of the compiler's own library, which a linker alone does not give."""

    def body(b, x):
        return b.add(relax.op.astype(b.add(relax.op.astype(x, "float16")), "float32"))

    data = random(3, 5)
    found = compiled(module({"x": (3, 5)}, body))["main"](tvm.runtime.tensor(data)).numpy()
    np.testing.assert_array_equal(found, data.astype(np.float16).astype(np.float32))
