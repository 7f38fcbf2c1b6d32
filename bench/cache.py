"""A folder that keeps what takes long to make: random networks, and the peers' quantized models and predictions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def cache_root() -> Path:
    """Return ``$XDG_CACHE_HOME/tvmq/bench``, below ``~/.cache`` by default."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tvmq" / "bench"


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
