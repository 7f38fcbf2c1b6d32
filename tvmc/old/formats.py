"""Files of formats that are not read, by their suffixes."""

from __future__ import annotations

from pathlib import Path

from ...errors import TvmqError
from ...frontends.torch.recognise import SAVED, saved_program

READS = "models are read in ONNX and TFLite form; convert this one to ONNX first"

FORMATS = {
    ".h5": "Keras",
    ".keras": "Keras",
    ".pdmodel": "Paddle",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".relay": "Relay",
}
"""Suffix -> whose files have it. ``.pb`` and ``.zip`` are not here: ONNX files have them too."""


def check_format(path: Path, named: str | None) -> None:
    """Raise ``TvmqError`` for a file that is by its suffix a model in a format that is not read.

    Parameters
    ----------
    named : the format that was named; with one, the suffix does not count.
    """
    if named is None and path.suffix.lower() == SAVED:
        raise saved_program(path)
    owner = FORMATS.get(path.suffix.lower())
    if named is None and owner is not None:
        raise TvmqError(
            f"{str(path)!r} is a {owner} model by its suffix; {READS} (--model-format onnx, if it is one)"
        )
