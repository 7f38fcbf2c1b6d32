"""The choices that a kernel for a GPU is written by, as an annotation of its definition: what a record keeps.

    func, {"0.tile": Tile(64, 64, 128, 2, 2, 3)}  <-->  func, annotation {"0.tile": {"rows": 64, "columns": 64, ...}}

Kernels for GPUs are written from definitions, not scheduled, so there is no schedule to keep. A choice stands there by
itself, not by its place among the candidates, which change with the analytic model. What a dataclass has as its
default is left out: a record stays valid where a new field leaves kernels as they were.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from tvm import tirx

from ...targets.row import TargetRow
from ..schedule import Schedule
from ..space import Choice, Decide
from .kernels import cuda_kernel

CHOICES = "tvmq.choices"
"""The annotation, JSON, of a function's outermost block."""


def noted(func: tirx.PrimFunc, choices: Mapping[str, Any]) -> Schedule:
    """Return a schedule of a kernel's definition whose trace has the choices."""
    sch = Schedule(func)
    text = json.dumps({name: _plain(choice) for name, choice in choices.items()}, sort_keys=True)
    sch.annotate(sch.get_sblock(func.body.block.name_hint), CHOICES, text)
    return sch


def write_noted(func: tirx.PrimFunc, row: TargetRow) -> tirx.PrimFunc:
    """Return the kernel of a definition that has choices as its annotation.

    Raises
    ------
    ValueError : there are none, or one that is not possible here: for other units, or with more shared memory.
    """
    text = func.body.block.annotations.get(CHOICES)
    choices = None if text is None else json.loads(str(text))
    if not isinstance(choices, dict):
        raise ValueError(f"it has no {CHOICES}")
    return cuda_kernel(func, row, _Told(choices))


def noting(decide: Decide, choices: dict[str, Any]) -> Decide:
    """Return what chooses as ``decide`` does, and puts each choice into a dictionary."""

    def chosen(name: str, candidates: Sequence[Choice]) -> Choice:
        choices[name] = decide(name, candidates)
        return choices[name]

    return chosen


class _Told:
    """Chooses what it is told; what nobody tells, as the analytic model."""

    def __init__(self, choices: Mapping[str, Any]) -> None:
        self._choices = choices

    def __call__(self, name: str, candidates: Sequence[Choice]) -> Choice:
        if name not in self._choices:
            return candidates[0]
        for candidate in candidates:
            if _plain(candidate) == self._choices[name]:
                return candidate
        raise ValueError(f"{name} cannot be {json.dumps(self._choices[name])}")


def _plain(choice: Any) -> Any:
    """Return a choice as JSON has it."""
    if isinstance(choice, Enum):
        return choice.name
    if dataclasses.is_dataclass(choice):
        values = {field: getattr(choice, field.name) for field in dataclasses.fields(choice)}
        return {field.name: _plain(value) for field, value in values.items() if value != field.default}
    if isinstance(choice, tuple):
        return [_plain(item) for item in choice]
    return choice
