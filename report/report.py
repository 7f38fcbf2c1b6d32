"""What ``QuantizedModel.report`` returns: the figures, and the ways to write them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .files import write_csv, write_page
from .records import Figures


@dataclass(frozen=True)
class Report(Figures):
    """All figures of a quantized model over some samples."""

    def to_csv(self, folder: str | os.PathLike[str]) -> None:
        """Write ``tensors.csv``, ``outputs.csv`` and ``layers.csv``; raises ``TvmqError`` where that is impossible."""
        write_csv(self, folder)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the self-contained page; raises ``TvmqError`` where that is impossible."""
        write_page(self, path)
