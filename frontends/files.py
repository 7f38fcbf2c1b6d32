"""A model's file to a Relax module, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from tvm import IRModule

from ..errors import TvmqError
from .onnx.load import load_onnx
from .onnx.shapes import Given
from .tflite import IDENTIFIER


def load_model(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Given | None = None,
    bind: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    input_dtypes: Mapping[str, object] | None = None,
    tflite_exact: bool = False,
) -> IRModule:
    """Return the module of an ONNX or TFLite file, which its name or its first bytes tell apart.

    Parameters
    ----------
    model : path of the file, or an ONNX model.
    input_shapes, bind, outputs, input_dtypes : as for ``load_onnx``; a TFLite file leaves no dtype open.
    tflite_exact : as ``exact`` of ``load_tflite``.

    Raises
    ------
    TvmqError : as ``load_onnx`` and ``load_tflite`` do; ``tflite_exact`` for an ONNX model.
    """
    if not isinstance(model, onnx.ModelProto) and is_tflite(model):
        # Not before there is one: it imports the schema's package.
        from .tflite.load import load_tflite

        return load_tflite(model, input_shapes, bind, outputs, input_dtypes, tflite_exact)
    if tflite_exact:
        raise TvmqError("exact integers of TFLite (--tflite-exact) are for TFLite models, and this is none")
    return load_onnx(model, input_shapes, bind, outputs, input_dtypes)


def is_tflite(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a TFLite model, by its name or by what it starts with."""
    path = Path(path)
    if path.suffix == ".tflite":
        return True
    try:
        if not path.is_file():  # a pipe would be read, or waited for
            return False
        with path.open("rb") as file:
            return file.read(8)[4:] == IDENTIFIER
    except (OSError, ValueError):
        return False
