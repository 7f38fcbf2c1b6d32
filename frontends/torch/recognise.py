"""What of PyTorch a user hands over, told by the names of classes and files: without importing torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...errors import TvmqError

PROGRAM = ("torch.export.", "ExportedProgram")
"""Module and name of the class of models that are taken."""

OTHERS = (
    ("torch.onnx.", "ONNXProgram", "pass its model_proto"),
    ("torch.jit.", "ScriptModule", "export the original module: torch.export.export(module.eval(), inputs)"),
    ("torch.jit.", "ScriptFunction", "export a module: torch.export.export(module.eval(), inputs)"),
    ("torch.nn.", "Module", "export it: torch.export.export(model.eval(), inputs)"),
)
"""Module, name, and what to do with it: the most special first."""

SAVED = ".pt2"
"""Suffix of what ``torch.export.save`` writes."""


def is_exported_program(model: Any) -> bool:
    """Tell whether a model is a ``torch.export.ExportedProgram``."""
    return _is_a(model, *PROGRAM)


def refuse_others(model: Any) -> None:
    """Raise ``TvmqError`` for what else of PyTorch is no exported program, saying how to make one of it."""
    if isinstance(model, str | os.PathLike) and Path(model).suffix.lower() == SAVED:
        raise saved_program(Path(model))
    for module, name, remedy in OTHERS:
        if _is_a(model, module, name):
            raise TvmqError(
                f"a model of PyTorch is taken as a torch.export.ExportedProgram, and this is a {name}: {remedy}"
            )


def saved_program(path: Path) -> TvmqError:
    """Return the error for a file of ``torch.export.save``: torch unpickles and evaluates what is in it."""
    return TvmqError(
        f"{str(path)!r} is an exported program of PyTorch, which may run code when it is read; if you trust it, "
        f"read it in Python: tvmq.compile(torch.export.load({str(path)!r}), target).export('model.tar')"
    )


def _is_a(model: Any, module: str, name: str) -> bool:
    return any(
        cls.__name__ == name and f"{cls.__module__}.".startswith(module) for cls in type(model).__mro__
    )
