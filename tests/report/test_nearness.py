from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.report.nearness import AgainstFloat, OutputNearness


def test_text():
    outputs = (
        OutputNearness("a", 0.98765, None),
        OutputNearness("b", 0.5, 0.25),
        OutputNearness("c", None, 1.0),
    )
    found = AgainstFloat(8, {"kind": "llvm"}, True, outputs)
    assert (
        str(found)
        == "cosine to float on 8 samples: a 0.9877, b 0.5000 (25 % the same class), c (100 % the same)"
    )
    assert AgainstFloat(8, {}, True, outputs[2:]).farthest is None


def test_the_farthest_output_decides():
    found = AgainstFloat(2, {}, True, (OutputNearness("a", 0.99, None), OutputNearness("b", 0.5, None)))
    found.check(0.5, "")
    with pytest.raises(
        TvmqError, match="output 'b' has a cosine of 0.5000 to float's on 2 samples, and at least 0.6"
    ):
        found.check(0.6, "try this")
