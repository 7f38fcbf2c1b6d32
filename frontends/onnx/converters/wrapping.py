"""A converter around another: whatever the version of the operator, ours is asked first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

Inputs = list[relax.Expr | None]
Convert = Callable[..., relax.Expr]
"""``(block builder, inputs, attributes, parameters) -> result``."""
Around = Callable[[Convert, Any, Inputs, dict[str, Any], Any], relax.Expr]
"""The same with what it is around in front, which it may call."""


def wrapped(base: type[stock.OnnxOpConverter], around: Around) -> type[stock.OnnxOpConverter]:
    """Return a converter that is ``around`` each version of ``base``."""

    class Wrapped(base):
        @classmethod
        def get_converter(cls, opset: int):
            convert = super().get_converter(opset)
            return lambda bb, inputs, attr, params: around(convert, bb, inputs, attr, params)

    Wrapped.__name__ = base.__name__
    return Wrapped
