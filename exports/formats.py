"""The forms of a quantized ONNX file: what each makes of the one with Q and DQ. One row a form."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from .qoperator import to_qoperator

FORMATS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "qdq": lambda model: model,
    "qoperator": to_qoperator,
}
