"""The tasks of the example network, on this machine and for one thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmq import api
from tvmq.targets.parse import parse_target

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="session")
def quantized():
    return api.quantize(DIGITS / "digits.onnx", calibration=DIGITS / "calibration.npz")


@pytest.fixture(scope="session")
def target():
    return parse_target("llvm -mcpu=native -num-cores=1")


@pytest.fixture(scope="session")
def tasks(quantized, target):
    return api.tuning_tasks(quantized, target)
