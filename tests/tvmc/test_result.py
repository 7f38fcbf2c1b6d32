"""What a run gave, and how it prints."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.result import ExecutionTimes, TVMCResult


@pytest.fixture
def result():
    outputs = {"output_0": np.arange(3), "output_1": np.ones(2, np.float32)}
    return TVMCResult(outputs, ExecutionTimes((0.001, 0.004, 0.001)), ("scores", "output_0"))


def test_times(result):
    times = result.times
    assert (times.min, times.median, times.max) == (0.001, 0.001, 0.004)
    assert times.mean == pytest.approx(0.002)
    assert times.std == pytest.approx(0.002**0.5 * 0.001**0.5)


def test_it_prints_as_it_did(result):
    lines = str(result).splitlines()
    assert lines[0] == "Execution time summary:"
    assert lines[1].split() == "mean (ms) median (ms) max (ms) min (ms) std (ms)".split()
    assert lines[2].split() == ["2.0000", "1.0000", "4.0000", "1.0000", "1.4142"]
    assert lines[3:] == ["Output Names:", " ['output_0', 'output_1']"]
    assert result.format_times() == "\n".join(lines[:3])


def test_outputs_by_either_name(result):
    np.testing.assert_array_equal(result.get_output("scores"), np.arange(3))
    np.testing.assert_array_equal(result.get_output("output_0"), np.arange(3))
    with pytest.raises(TvmqError, match="unknown output 'output_2'; did you mean"):
        result.get_output("output_2")


@pytest.mark.parametrize("name", ["a.npz", "b", "c.out"])
def test_saved(result, tmp_path, name):
    result.save(tmp_path / name)
    (path,) = tmp_path.iterdir()
    assert path.name == (name if name.endswith(".npz") else f"{name}.npz")
    with np.load(path) as arrays:
        assert arrays.files == ["output_0", "output_1"]
        np.testing.assert_array_equal(arrays["output_0"], np.arange(3))
