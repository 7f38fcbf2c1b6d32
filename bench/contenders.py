"""tvmq itself, float and int8, for the target that the user chose."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np

from .engines import Built, Engine, Settings, calibration_feeds
from .subjects import Subject

BARE_NUMBER, BARE_REPEAT = 5, 20
"""Runs a measurement, and measurements, of the latency without Python."""


def _build(subject: Subject, settings: Settings, quantized: bool) -> Built:
    # Imported here: it brings TVM, which the command's help and its bad arguments must not wait for.
    import tvmq

    shapes = {subject.model.input: subject.input_shape}
    path, target = str(subject.path), settings.target
    if quantized:
        model = tvmq.quantize(
            path, scheme="int8", target=target, calibration=calibration_feeds(subject), input_shapes=shapes
        )
        package = tvmq.compile(model, target)
    else:
        package = tvmq.compile(path, target, input_shapes=shapes)
    (output,) = package.metadata["outputs"]

    def run(sample: np.ndarray) -> np.ndarray:
        return package.run({subject.model.input: sample})[output["name"]]

    def bare_ms(sample: np.ndarray) -> float:
        seconds = package.time({subject.model.input: sample}, BARE_NUMBER, BARE_REPEAT)
        return statistics.median(seconds) * 1e3

    return Built(run, settings.target, bare_ms)


def tvmq_float(subject: Subject, settings: Settings, folder: Path) -> Built:
    """The float model, compiled as it is."""
    return _build(subject, settings, quantized=False)


def tvmq_int8(subject: Subject, settings: Settings, folder: Path) -> Built:
    """The scheme ``int8`` with its default options."""
    return _build(subject, settings, quantized=True)


CONTENDERS: tuple[Engine, ...] = (
    Engine("tvmq float", ("tvmq", "apache-tvm"), False, False, tvmq_float),
    Engine("tvmq int8", ("tvmq", "apache-tvm"), True, False, tvmq_int8),
)
