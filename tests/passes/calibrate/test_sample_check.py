"""What is wrong with a sample is said in one line that names the sample and the input."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.passes.calibrate.sample_check import check_sample

SPECS = {"x:0": ((1, 2), "float32"), "ids": ((1, 3), "int64")}
GOOD = {"x:0": np.zeros((1, 2), "float32"), "ids": np.zeros((1, 3), "int64")}


def test_good():
    check_sample(GOOD, 0, SPECS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": GOOD["x:0"]}, "unknown input in calibration sample 4 'x'; did you mean 'x:0'?"),
        ({"x:0": None}, "calibration sample 4, input 'x:0': expected an array, got a NoneType"),
        ({"x:0": np.zeros((2,), "float32")}, "input 'x:0': expected shape [1, 2], got [2]"),
        ({"x:0": np.zeros((1, 2))}, "input 'x:0': expected dtype float32, got float64"),
        ({"ids": np.zeros((1, 3), "int32")}, "input 'ids': expected dtype int64, got int32"),
        ({"x:0": np.array([[0, np.nan]], "float32")}, "input 'x:0': holds NaN or infinity"),
        ({"x:0": np.array([[0, np.inf]], "float32")}, "input 'x:0': holds NaN or infinity"),
    ],
)
def test_bad(change, message):
    with pytest.raises(TvmqError) as caught:
        check_sample({**GOOD, **change}, 4, SPECS)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_missing():
    with pytest.raises(TvmqError, match="calibration sample 0 has no array for input 'ids'"):
        check_sample({"x:0": GOOD["x:0"]}, 0, SPECS)


def test_no_mapping():
    with pytest.raises(TvmqError, match="calibration sample 2 is a ndarray; expected a mapping"):
        check_sample(GOOD["x:0"], 2, SPECS)
