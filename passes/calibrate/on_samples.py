"""What every pass has that runs the model: the samples, and how it is run on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .sample_check import Sample
from .watch import Progress, Runner, compile_for_host


@dataclass(frozen=True)
class RunsModel:
    """Base of a pass that runs forms of the module which it is given.

    Attributes
    ----------
    runner : compiles the float module that is watched.
    progress : shows how many samples have run; None shows nothing.
    """

    runner: Runner = field(default=compile_for_host, kw_only=True)
    progress: Progress | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ReadsSamples(RunsModel):
    """Base of one that runs them on samples.

    Attributes
    ----------
    samples : of each, the arrays of the model's inputs by name, in their exact shapes and dtypes.
    """

    samples: Iterable[Sample]
