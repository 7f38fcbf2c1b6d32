"""Kernels of training, one layer at a time."""

from __future__ import annotations

import pytest

from tvmq.bench import gradients


def test_a_pointwise_layer_is_timed_beside_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--layers", "1x1-576-160-7", "3x3-64-64-8", "--batch", "1", "--rounds", "1"]
    assert gradients.main(command) == 0
    pointwise, other = (
        line for line in capsys.readouterr().out.splitlines() if "1x1-" in line or "3x3-" in line
    )
    assert (pointwise.count("("), other.count("(")) == (4, 3)


def test_an_unknown_layer_gets_the_close_matches(capsys: pytest.CaptureFixture[str]) -> None:
    assert gradients.main(["--layers", "1x1-576-160-8"]) == 1
    assert "1x1-576-160-7" in capsys.readouterr().err


def test_operations_of_a_layer() -> None:
    assert gradients.LAYERS["dw/2-96-96-112"].macs(2) == 2 * 56 * 56 * 96 * 9
    assert gradients.LAYERS["1x1-96-24-56"].macs(1) == 56 * 56 * 96 * 24
