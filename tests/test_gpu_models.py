"""Whole models on a GPU give what they give on x86: all integers, and floats but for the order of their sums."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.gpu import gpu
from tvmq import api
from tvmq.bench.engines import calibration_feeds
from tvmq.bench.subjects import load_subject
from tvmq.passes.realize.layout import Layout
from tvmq.passes.realize.realize import Realize
from tvmq.schedules.pipeline import build
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

CASES = [
    ("mobilenetv2", "int8", "sm_80", None),
    ("resnet20", "int8", "sm_75", None),
    ("resnet20", "int8", "sm_90a", None),
    ("resnet20", "w4a4", "sm_80", None),
    ("resnet20", "w4a8", "sm_61", None),
    ("resnet20", "w2a8", "sm_86", None),
    ("kws", "int8", "sm_61", 3e-7),  # the softmax
    ("minilm", "int8", "sm_80", 0.02),  # another order of sums moves a few activations by a step
]


@pytest.fixture(autouse=True)
def models(data_dir) -> None:
    """The models are those of the data folder."""


def results(mod: tvm.IRModule, target: str, data: np.ndarray) -> list[np.ndarray]:
    parsed = parse_target(target)
    row = row_of(parsed)
    built = build(Realize(row)(Layout()(mod)), parsed, row)
    device = tvm.cpu() if row.gpu is None else tvm.cuda(0)
    found = relax.VirtualMachine(built.executable, device)["main"](tvm.runtime.tensor(data, device))
    return [each.numpy() for each in ([found] if isinstance(found, tvm.runtime.Tensor) else found)]


@pytest.mark.parametrize(("name", "scheme", "arch", "tolerance"), CASES)
def test_same_as_x86(name, scheme, arch, tolerance):
    subject = load_subject(name, 3)
    feeds = [feed for feed, _ in zip(calibration_feeds(subject), range(3), strict=False)]
    (data,) = feeds[0].values()
    shapes, options = {subject.model.input: subject.input_shape}, api.QuantizeOptions(rounding="nearest")
    quantized = api.quantize(
        str(subject.path), scheme, "llvm -mcpu=znver4", feeds, input_shapes=shapes, options=options
    ).mod
    expected = results(quantized, "llvm -mcpu=native", data)
    with gpu(row_of(parse_target(f"cuda -arch={arch}")).gpu.capability):
        found = results(quantized, f"cuda -arch={arch}", data)
    for one, other in zip(found, expected, strict=True):
        if tolerance is None:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())
