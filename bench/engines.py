"""What an engine is: how one contender builds a model and runs one sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import cache, machine
from .subjects import Subject

Run = Callable[[np.ndarray], np.ndarray]
"""float32 ``[1, ...]`` to float32 logits ``[1, classes]``: the whole Python call, NumPy in and out."""


@dataclass(frozen=True)
class Built:
    """A model that an engine has ready.

    Attributes
    ----------
    run : runs one sample.
    isa : the instruction set that its kernels use, as far as the engine tells.
    bare_seconds : ``(sample, number) -> seconds``, the mean of that many runs without Python around them; None
        where the engine has no such clock.
    """

    run: Run
    isa: str
    bare_seconds: Callable[[np.ndarray, int], float] | None = None


@dataclass(frozen=True)
class Settings:
    """What all engines share.

    Attributes
    ----------
    threads : CPU threads of every engine.
    target : tvmq's target string.
    isa : key of ``isa.ISAS``: what the engines that can be limited are limited to.
    """

    threads: int
    target: str
    isa: str


Build = Callable[[Subject, Settings, Path], Built]
"""``(subject, settings, folder) -> Built``. The folder is this engine's own and lasts: what it holds from an
earlier build of the same subject by the same versions is taken from there."""


@dataclass(frozen=True)
class Engine:
    """One contender.

    Attributes
    ----------
    name : unique, as the tables show it.
    packages : distributions whose versions decide the result.
    is_int8 : runs the quantized model.
    is_peer : somebody else's; its quantized model and predictions are kept from run to run.
    build : see ``Build``.
    """

    name: str
    packages: tuple[str, ...]
    is_int8: bool
    is_peer: bool
    build: Build


def folder_for(engine: Engine, subject: Subject, settings: Settings) -> Path:
    """Return the folder of what this engine made of this subject, made if need be.

    Its name is a hash of the model's and the samples' bytes, the engine, the versions, the settings and the CPU, since
    an engine's integers may depend on the CPU's instructions.
    """
    key = {
        "engine": engine.name,
        "versions": machine.versions(engine.packages),
        "subject": subject.digest,
        "threads": settings.threads,
        "isa": settings.isa,
        "cpu": [machine.cpu_name(), *machine.instruction_sets()],
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache.cache_root() / f"{subject.model.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def calibration_feeds(subject: Subject) -> Iterator[dict[str, np.ndarray]]:
    """Yield the calibration samples one by one as ``{input name: float32 [1, C, H, W]}``."""
    for sample in subject.data.calibration:
        yield {subject.model.input: sample[None]}
