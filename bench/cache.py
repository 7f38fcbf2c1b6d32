"""A folder that keeps what peers take long to make: quantized models and predictions.

Its key has the model's and the samples' bytes, the engine, the versions, the settings and the CPU, since an
engine's integers may depend on the CPU's instructions.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import machine
from .engines import Engine, Settings
from .subjects import Subject


def cache_root() -> Path:
    """Return ``$XDG_CACHE_HOME/tvmq/bench``, below ``~/.cache`` by default."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tvmq" / "bench"


def folder_for(engine: Engine, subject: Subject, settings: Settings) -> Path:
    """Return the folder of this engine and subject, made if need be."""
    key = {
        "engine": engine.name,
        "versions": machine.versions(engine.packages),
        "subject": subject.digest,
        "threads": settings.threads,
        "isa": settings.isa,
        "cpu": [machine.cpu_name(), *machine.instruction_sets()],
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_root() / f"{subject.model.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept_array(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array in ``file``; where there is none, make it and keep it."""
    if file.exists():
        return np.load(file)
    array = make()
    # Written aside and renamed, so that an interrupted run leaves no half file behind.
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npy", delete=False) as aside:
        np.save(aside, array)
    os.replace(aside.name, file)
    return array
