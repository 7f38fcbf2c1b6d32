"""The state of fine-tuning in a file, from which it goes on after it was broken off."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TvmqError
from ...replacing import replacing


@dataclass(frozen=True)
class Checkpoint:
    """A file for the state.

    Attributes
    ----------
    path : of the file; None keeps nothing.
    key : what the state is of: the model, the samples and the options.
    """

    path: Path | None
    key: str

    def read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return arrays and numbers of the state; None where there is none.

        Raises
        ------
        TvmqError : the file is none, or one of something else.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            numbers = json.loads(str(arrays.pop("numbers")))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise TvmqError(f"{str(self.path)!r} is no state of fine-tuning: {error}") from error
        if numbers.get("key") != self.key:
            raise TvmqError(
                f"{str(self.path)!r} is the state of fine-tuning another model, or with other samples or options; "
                "delete it to begin anew"
            )
        return arrays, numbers

    def write(self, arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> None:
        """Write the state, whole or not at all; raises ``TvmqError`` where that cannot be."""
        if self.path is None:
            return
        text = np.array(json.dumps({"key": self.key, **numbers}))
        try:
            with replacing(self.path) as place, open(place, "wb") as file:
                np.savez(file, **{"numbers": text, **arrays})  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TvmqError(
                f"the state of fine-tuning cannot be written to {str(self.path)!r}: {error}"
            ) from error
