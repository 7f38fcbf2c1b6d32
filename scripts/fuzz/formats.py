"""The formats of model files: how a fault is put into one, and how it is read. One row a format.

A format whose structure nothing here knows has its bytes changed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import onnx
from mutations import mutate, mutate_bytes


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    suffix : of its files.
    damage : content and random numbers to the content with a fault in it.
    load : the path of a file to its Relax module.
    """

    suffix: str
    damage: Callable[[Random, bytes], bytes]
    load: Callable[[Path], Any]


def _damage_onnx(rng: Random, content: bytes) -> bytes:
    if rng.random() < 1 / 9:
        return mutate_bytes(rng, content)
    model = onnx.load_model_from_string(content)
    mutate(rng, model)
    return model.SerializeToString()


def _load_onnx(path: Path) -> Any:
    from tvmq.frontends.onnx.load import load_onnx

    return load_onnx(path)


ONNX = Format(".onnx", _damage_onnx, _load_onnx)


def _load_tflite(path: Path) -> Any:
    from tvmq.frontends.tflite.load import load_tflite

    exact = path.stat().st_size % 2 == 0  # both ways, and the same way each time
    return load_tflite(path, exact=exact)


TFLITE = Format(".tflite", mutate_bytes, _load_tflite)
