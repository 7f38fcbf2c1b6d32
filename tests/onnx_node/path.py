"""The compile path under test: the public functions, for this CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

import tvmq


def compile_and_run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the model's outputs, in order."""
    return list(tvmq.compile(model).run(inputs).values())
