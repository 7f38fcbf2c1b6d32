"""Calls over tensors --> calls over places: each value in the workspace, or where the caller wants an output.

conv(input 0, weight 0, value a); dense(value a, weight 1152, value b); outputs: value b
-->
conv(input 0, weights + 0, workspace + 0); dense(workspace + 0, weights + 1152, output 0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..lowering import ALIGNMENT
from .calls import Calls, Input, Tensor, Value, Weight
from .first_fit import Life, place


@dataclass(frozen=True)
class Place:
    """Where a tensor is: ``memory`` is ``"input"`` or ``"output"``, and ``at`` its number; or it is ``"weights"`` or
    ``"workspace"``, and ``at`` an offset in bytes.
    """

    memory: str
    at: int


@dataclass(frozen=True)
class Plan:
    """What a C function does.

    Attributes
    ----------
    calls : for each call in order, the kernel's name and its arguments.
    copies : the places that an output is copied from when all is done, and the outputs: what no kernel writes there.
    weights : the constants.
    workspace_bytes : memory for values between kernels, and for what they take themselves; a multiple of ``ALIGNMENT``.
    """

    calls: tuple[tuple[str, tuple[Place, ...]], ...]
    copies: tuple[tuple[Place, Place], ...]
    weights: bytes
    workspace_bytes: int


def make_plan(calls: Calls, scratch: Mapping[str, Sequence[int]]) -> Plan:
    """Return the plan of the calls.

    Parameters
    ----------
    scratch : for each kernel, the bytes of each piece of memory that it takes behind its tensors.
    """
    places: dict[Tensor, Place] = {}
    copied: list[tuple[Tensor, Place]] = []
    for index, tensor in enumerate(calls.outputs):
        if isinstance(tensor, Value) and tensor not in places:
            places[tensor] = Place("output", index)
        else:  # an input, a constant, or what is an output already
            copied.append((tensor, Place("output", index)))
    steps = [(kernel, (*tensors, *map(Value, scratch[kernel]))) for kernel, tensors in calls.kernels]
    used: dict[Value, list[int]] = {}
    for step, (_, tensors) in enumerate(steps):
        for tensor in tensors:
            if isinstance(tensor, Value) and tensor not in places:
                used.setdefault(tensor, []).append(step)
    offsets, size = place([Life(value.bytes, at[0], at[-1]) for value, at in used.items()], ALIGNMENT)
    places |= {value: Place("workspace", offset) for value, offset in zip(used, offsets, strict=True)}

    def placed(tensor: Tensor) -> Place:
        if isinstance(tensor, Input):
            return Place("input", tensor.index)
        return Place("weights", tensor.offset) if isinstance(tensor, Weight) else places[tensor]

    return Plan(
        tuple((kernel, tuple(map(placed, tensors))) for kernel, tensors in steps),
        tuple((placed(tensor), output) for tensor, output in copied),
        bytes(calls.weights),
        size,
    )
