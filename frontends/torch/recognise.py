"""What of PyTorch a user hands over, told by the names of its classes: without importing torch."""

from __future__ import annotations

from typing import Any

from ...errors import TvmqError

EXPORT = "export it first: torch.export.export(model.eval(), example_inputs)"

PROGRAM = ("torch.export.", "ExportedProgram")
"""Module and name of the class of models that are taken."""

OTHERS = (
    ("torch.onnx.", "ONNXProgram", "pass its model_proto"),
    (
        "torch.jit.",
        "ScriptModule",
        "torch.jit is not read; " + EXPORT.replace("model", "the original model", 1),
    ),
    (
        "torch.jit.",
        "ScriptFunction",
        "torch.jit is not read; export a torch.nn.Module with torch.export.export",
    ),
    ("torch.nn.", "Module", EXPORT),
)
"""Module, name, and what to do with it: the most special first."""


def is_exported_program(model: Any) -> bool:
    """Tell whether a model is a ``torch.export.ExportedProgram``."""
    return _is_a(model, *PROGRAM)


def refuse_others(model: Any) -> None:
    """Raise ``TvmqError`` for what else of PyTorch is no exported program, saying how to make one of it."""
    for module, name, remedy in OTHERS:
        if _is_a(model, module, name):
            raise TvmqError(
                f"a model of PyTorch is taken as a torch.export.ExportedProgram, not {name}: {remedy}"
            )


def _is_a(model: Any, module: str, name: str) -> bool:
    return any(
        cls.__name__ == name and f"{cls.__module__}.".startswith(module) for cls in type(model).__mro__
    )
