"""Scales that mean nothing are refused at import."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ..graphs import model, node, value


@pytest.mark.parametrize(("bad", "shown"), [(0.0, "0"), (-1.0, "-1"), (np.nan, "nan"), (np.inf, "inf")])
@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear"])
def test_scales(op, bad, shown):
    source = "x" if op == "QuantizeLinear" else "q"
    constants = {
        "s": np.array([0.5, bad], np.float32),
        "z": np.zeros(2, np.int8),
        "q": np.ones((1, 2), np.int8),
    }
    nodes = [node(op, [source, "s", "z"], ["y"], name="n", axis=1)]
    with pytest.raises(TvmqError) as caught:
        load_onnx(model(nodes, [value("x", (1, 2))], ["y"], constants))
    assert str(caught.value).startswith(
        f"ONNX node 'n' ({op}) cannot be imported: its scale 's' has the value {shown}, and a positive number was "
    )
