"""What a search found, and the file that quantizes so again: ``tvmc compile --config found.toml``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import TvmqError
from ..passes.annotate.options import QuantizeOptions
from .recipe import FLOAT, options_with


@dataclass(frozen=True)
class Found:
    """The bits of each layer.

    Attributes
    ----------
    bits : of the weights, by the layer's name; ``FLOAT`` for one that stays in float.
    weights : number of weights in these layers.
    bytes : what they take at their bits, scales apart.
    cosine : of the outputs to the float model's, as the search measured it.
    """

    bits: Mapping[str, int]
    weights: int
    bytes: int
    cosine: float

    @property
    def summary(self) -> str:
        """One line."""
        counts = {count: list(self.bits.values()).count(count) for count in sorted({*self.bits.values()})}
        layers = ", ".join(
            f"{layers} in float" if count == FLOAT else f"{layers} of {count} bits"
            for count, layers in counts.items()
        )
        return (
            f"mixed bits: {8 * self.bytes / self.weights:.2f} a weight, {self.bytes / 1e6:.3f} MB; cosine "
            f"{self.cosine:.4f}; layers: {layers}"
        )

    def options(self, options: QuantizeOptions) -> QuantizeOptions:
        """Return the options with these bits."""
        return options_with(options, self.bits)

    def write(self, path: str | os.PathLike[str], rounding: str) -> None:
        """Write a TOML file that ``config.read_config`` reads, whole or not at all.

        Raises
        ------
        TvmqError : it cannot be written.
        """
        # TOML's strings in double quotes are those of JSON.
        skipped = [_quoted(layer) for layer, count in self.bits.items() if count == FLOAT]
        lines = [
            f"# {self.summary}",
            "[quantization]",
            'scheme = "int8"',
            f"rounding = {_quoted(rounding)}",
            *([f"skip_layers = [{', '.join(skipped)}]"] if skipped else []),
            "",
            "[quantization.bits]",
            *(f"{_quoted(layer)} = {count}" for layer, count in self.bits.items() if count != FLOAT),
        ]
        path = Path(path)
        part = path.with_name(path.name + ".part")
        try:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise TvmqError(
                f"cannot write the bits that were found to {str(path)!r}: {error.strerror}"
            ) from error


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
