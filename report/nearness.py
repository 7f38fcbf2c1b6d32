"""How near a package's outputs are to the float model's: the record, which needs no TVM to be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import TvmqError

METADATA = "against_float"
"""Field of ``mod.json`` that holds a comparison."""
GOOD = 0.98
"""Cosine below which something should be tried: 8 bits give more than 0.99 of almost any network."""


@dataclass(frozen=True)
class OutputNearness:
    """How near an output is.

    Attributes
    ----------
    cosine : of floats; None for other outputs.
    same : of an output that looks like scores of classes, the share of rows with the largest element in the same
        place; of what is no float, the share of elements that are the same; else None.
    """

    name: str
    cosine: float | None
    same: float | None

    def __str__(self) -> str:
        cosine = "" if self.cosine is None else f" {self.cosine:.4f}"
        what = "the same" if self.cosine is None else "the same class"
        return f"{self.name}{cosine}" + ("" if self.same is None else f" ({100 * self.same:.3g} % {what})")


@dataclass(frozen=True)
class AgainstFloat:
    """How near a package's outputs are to the float model's.

    Attributes
    ----------
    samples : how many ran.
    target : what the integers that ran are compiled for, as in ``mod.json``.
    is_package : those are the package's own kernels.
    outputs : in the model's order.
    """

    samples: int
    target: dict[str, Any]
    is_package: bool
    outputs: tuple[OutputNearness, ...]

    @property
    def farthest(self) -> OutputNearness | None:
        """The output of the smallest cosine; None where none is of floats."""
        floats = [output for output in self.outputs if output.cosine is not None]
        return min(floats, key=lambda output: output.cosine, default=None)

    def __str__(self) -> str:
        here = self.target.get("mcpu", "this machine")
        where = "" if self.is_package else f", as a package for {here}"
        return f"cosine to float on {self.samples} samples{where}: {', '.join(map(str, self.outputs))}"

    def as_metadata(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            **dataclasses.asdict(self),
            "outputs": [dataclasses.asdict(output) for output in self.outputs],
        }

    @classmethod
    def of_metadata(cls, record: Mapping[str, Any]) -> AgainstFloat:
        """Return the comparison that ``as_metadata`` has written."""
        return cls(**{**record, "outputs": tuple(OutputNearness(**output) for output in record["outputs"])})

    def check(self, least: float, remedy: str) -> None:
        """Raise ``TvmqError`` where an output of floats has a smaller cosine; ``remedy`` says what to try."""
        output = self.farthest
        if output is not None and output.cosine < least:
            raise TvmqError(
                f"output {output.name!r} has a cosine of {output.cosine:.4f} to float's on {self.samples} samples, and "
                f"at least {least:g} is wanted; {remedy}"
            )
