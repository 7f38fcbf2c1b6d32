"""One compiled module for all trials of a model: the constants in which they differ are its inputs.

A trial is legalized, which packs its weights as the kernels read them; the constants of its tagged calls then become
parameters, in their order. Legalizing is quick and compiling is not, so only the first trial is compiled, and any
mixture of trials runs on it without more ado.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tvm
from tvm import IRModule, relax

from ..passes.hub.graph import bindings_of, is_constant, layer_name, op_name, rebuild, to_numpy
from ..passes.hub.steps import Steps, arguments
from ..passes.realize.layout import Layout
from ..runtime.workers import run_kernels
from ..schedules.code import generate
from ..schedules.pipeline import fuse, legalize, plan_memory, to_virtual_machine
from ..schedules.rules import ScheduleKernels
from ..targets.features import row_of, threads_of
from ..targets.parse import parse_target
from .trials import TAG

Constants = tuple[tvm.runtime.Tensor, ...]
"""What is a unit's own in a trial: packed weights and biases, in the order of the module."""


class Simulator:
    """Runs mixtures of trials on this machine.

    Parameters
    ----------
    mod : a trial; those that are to be mixed must be trials of the same model (``search.trials``).
    """

    def __init__(self, mod: IRModule) -> None:
        self._target = parse_target("llvm -mcpu=native")
        self._row = row_of(self._target)
        self._inputs = [param.name for param in mod["main"].params]
        legalized, tags = self._legalized(mod)
        lifted, self._units = _lifted(legalized, tags)
        with self._target:
            scheduled = ScheduleKernels(self._row, threads_of(self._target))(fuse()(lifted))
            executable = generate(to_virtual_machine()(plan_memory()(scheduled)), self._target)
        self._main = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def constants(self, mod: IRModule) -> dict[str, Constants]:
        """Return the constants of a trial, by unit."""
        found: dict[str, list[tvm.runtime.Tensor]] = {}
        for tag, value in _tagged(*self._legalized(mod)):
            found.setdefault(tag, []).append(tvm.runtime.tensor(value))
        return {unit: tuple(values) for unit, values in found.items()}

    def run(
        self,
        sample: Mapping[str, np.ndarray],
        constants: Mapping[str, Constants],
        steps: Mapping[str, Steps],
    ) -> list[np.ndarray]:
        """Return the model's outputs for one sample.

        Parameters
        ----------
        constants : of each unit, those of one trial or another.
        steps : of each activation.
        """
        values = {**sample, **arguments(steps)}
        rest = {unit: iter(group) for unit, group in constants.items()}
        inputs = [tvm.runtime.tensor(np.asarray(values[name])) for name in self._inputs]
        tensors = [*inputs, *(next(rest[unit]) for unit in self._units)]
        outputs = run_kernels(None, lambda: self._main(*tensors))
        return [output.numpy() for output in outputs]

    def _legalized(self, mod: IRModule) -> tuple[IRModule, dict[str, str]]:
        """Return the module with packed constants, and the unit of each tagged variable by its name."""
        mod = Layout()(mod)
        tags = {
            binding.var.name: layer_name(binding.value).removeprefix(TAG)
            for binding in bindings_of(mod)
            if layer_name(binding.value).startswith(TAG)
        }
        with self._target:
            return legalize(self._row)(mod), tags


def _tagged(mod: IRModule, tags: Mapping[str, str]) -> list[tuple[str, np.ndarray]]:
    """Return the constants of the tagged calls in order, each with its unit."""
    return [
        (tags[binding.var.name], to_numpy(item))
        for binding in bindings_of(mod)
        if op_name(binding.value) == "relax.call_tir" and binding.var.name in tags
        for item in binding.value.args[1].fields
        if is_constant(item)
    ]


def _lifted(mod: IRModule, tags: Mapping[str, str]) -> tuple[IRModule, list[str]]:
    """Return the module with a parameter for each constant of the tagged calls, and their units in order."""
    constants = _tagged(mod, tags)
    new = [
        relax.Var(f"constant{index}", relax.TensorType(value.shape, str(value.dtype)))
        for index, (_, value) in enumerate(constants)
    ]
    rest = iter(new)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if op_name(value) != "relax.call_tir" or var.name not in tags:
            return value
        items = [next(rest) if is_constant(item) else item for item in value.args[1].fields]
        args = [value.args[0], relax.Tuple(items), *value.args[2:]]
        return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)

    lifted = rebuild(mod, rewrite, params=[*mod["main"].params, *new])
    return lifted, [unit for unit, _ in constants]
