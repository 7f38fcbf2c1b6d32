"""The command line, and the functions of the old ``tvmc`` in Python.

Only what runs imports TVM, ONNX or NumPy: help answers at once, and ``from tvmq import tvmc`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import TvmqError as TVMCException  # noqa: F401
    from .driver import compile as compile
    from .driver import load as load
    from .driver import run as run
    from .driver import tune as tune
    from .model import TVMCModel as TVMCModel
    from .model import TVMCPackage as TVMCPackage
    from .result import TVMCResult as TVMCResult

_LOCATIONS = {
    "TVMCException": ("tvmq.errors", "TvmqError"),
    "TVMCModel": ("tvmq.tvmc.model", "TVMCModel"),
    "TVMCPackage": ("tvmq.tvmc.model", "TVMCPackage"),
    "TVMCResult": ("tvmq.tvmc.result", "TVMCResult"),
    "compile": ("tvmq.tvmc.driver", "compile"),
    "load": ("tvmq.tvmc.driver", "load"),
    "run": ("tvmq.tvmc.driver", "run"),
    "tune": ("tvmq.tvmc.driver", "tune"),
}
"""Where each public name lives: module and name there. They load on first use."""

__all__ = sorted(_LOCATIONS)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LOCATIONS[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
