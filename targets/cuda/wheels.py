"""Where the wheels of NVIDIA's tools and libraries are installed: they share the folder ``nvidia``."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def wheel_folders() -> list[Path]:
    """Return the folders ``nvidia`` of the installed wheels, such as ``site-packages/nvidia``; nothing is imported."""
    spec = importlib.util.find_spec("nvidia")
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
