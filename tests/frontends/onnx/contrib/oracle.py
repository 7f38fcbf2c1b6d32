"""A node of onnxruntime's, run by onnxruntime and by us."""

from __future__ import annotations

import numpy as np
import pytest

from ....onnx_node.path import compile_and_run
from ...nodes import one_node

CLOSE = 4e-6
"""Sums of some 100 products of numbers of order 1, in another order."""


def assert_same(op_type: str, *inputs: np.ndarray | None, atol: float = CLOSE, **how) -> list[np.ndarray]:
    """Check a node's outputs, and return onnxruntime's; parameters as for ``one_node``."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tvmq[bench]'")
    model, fed = one_node(op_type, *inputs, domain="com.microsoft", **how)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, fed)
    for one, other in zip(compile_and_run(model, fed), expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=atol, rtol=CLOSE)
    return expected


def int32(values) -> np.ndarray:
    return np.asarray(values, np.int32)
