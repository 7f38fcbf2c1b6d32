"""A TFLite file to the graph that the importer of ONNX takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from .file import IDENTIFIER, read
from .graph import to_graph


def is_tflite_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a TFLite model, by its name or by what it starts with."""
    path = Path(path)
    if path.suffix == ".tflite":
        return True
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == IDENTIFIER
    except OSError:
        return False


def read_tflite(
    path: str | os.PathLike[str], input_shapes: Mapping[str, Any] | None = None, exact: bool = False
) -> onnx.ModelProto:
    """Return the graph of a TFLite file, as ``load_onnx`` takes it; raises ``TvmqError`` as ``read`` and ``to_graph`` do."""
    return to_graph(read(Path(path)), input_shapes or {}, exact)
