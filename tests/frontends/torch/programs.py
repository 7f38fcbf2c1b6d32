"""Small programs of PyTorch, run by torch and here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tvm

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install .[torch])")

import tvmq  # noqa: E402
from tvmq.frontends.torch.load import load_exported_program  # noqa: E402

TARGET = "llvm -mcpu=native -num-cores=1"

FLOAT = 4e-6
"""Of the largest result: some roundings of float32, in another order."""


class Calls(torch.nn.Module):
    """Functions of the same inputs, whose results are given by name."""

    def __init__(self, functions: Mapping[str, Callable]):
        super().__init__()
        self.functions = functions

    def forward(self, *inputs):
        found = {}
        for name, function in self.functions.items():
            result = function(*inputs)
            for at, one in enumerate(result if isinstance(result, tuple | list) else [result]):
                found[f"{name}_{at}"] = one.clone()
        return found


def check_functions(inputs: Sequence[torch.Tensor], **functions: Callable) -> None:
    """Compare functions of some inputs with torch."""
    check(Calls(functions).eval(), inputs)


def check(
    module: torch.nn.Module, inputs: Sequence[torch.Tensor], *, exact: float = 1.0, **options: Any
) -> tvm.IRModule:
    """Compare a module's results with torch's; return what was imported.

    Parameters
    ----------
    exact : how much larger than ``FLOAT`` an error may be.
    options : of ``torch.export.export``.
    """
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(module(*(each.clone() for each in inputs)))
    program = torch.export.export(module, tuple(inputs), **options)
    mod = load_exported_program(program)
    given = run(mod, inputs)
    assert len(wanted) == len(given)
    for (name, one), its in zip(given.items(), wanted, strict=True):
        expected = its.detach().numpy()
        assert (one.shape, one.dtype) == (expected.shape, expected.dtype), name
        if expected.dtype.kind != "f":
            np.testing.assert_array_equal(one, expected, err_msg=name)
        else:
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=1e-3)
            np.testing.assert_allclose(one, expected, rtol=0, atol=FLOAT * exact * largest, err_msg=name)
    return mod


def run(mod: tvm.IRModule, inputs: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    """Return what a module gives for the inputs, by name."""
    sample = {param.name: each.numpy() for param, each in zip(mod["main"].params, inputs, strict=True)}
    return tvmq.compile(mod, TARGET).run(sample)
