"""A folder that keeps what takes long to make: random networks, and the peers' quantized models and predictions.

The key of what a peer made has the model's and the samples' bytes, the engine, the versions, the settings and the
CPU, since an engine's integers may depend on the CPU's instructions.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import machine

if TYPE_CHECKING:
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


def kept(file: Path, write: Callable[[Path], None]) -> Path:
    """Return the file; where there is none, it is written first."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed, so that an interrupted run leaves no half file behind.
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            aside = Path(folder) / file.name
            write(aside)
            os.replace(aside, file)
    return file


def kept_array(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array in ``file``; where there is none, make it and keep it."""
    return np.load(kept(file, lambda aside: np.save(aside, make())))
