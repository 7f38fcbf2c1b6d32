"""tvmq itself, float and int8, for the target that the user chose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .engines import Built, Engine, Settings, calibration_feeds
from .subjects import Subject


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

    def bare_seconds(sample: np.ndarray, number: int) -> float:
        (seconds,) = package.time({subject.model.input: sample}, number, repeat=1)
        return seconds

    return Built(run, settings.target, bare_seconds)


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
