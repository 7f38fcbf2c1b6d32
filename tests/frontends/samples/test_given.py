"""Samples from a program: dtypes converted as those of files are, and errors of the program itself."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.samples.given import given_samples

SPECS = {"x": ((1, 2), "float32"), "ids": ((1, 3), "int64")}
FLOATS, IDS = np.ones((1, 2), np.float32), np.array([[1, 2, 3]])


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint64"])
def test_integers_of_another_type(dtype):
    (sample,) = given_samples([{"x": FLOATS, "ids": IDS.astype(dtype)}], SPECS)
    assert sample["ids"].dtype == np.int64
    np.testing.assert_array_equal(sample["ids"], IDS)


def test_floats_of_another_type():
    (sample,) = given_samples([{"x": FLOATS.astype(np.float64), "ids": IDS}], SPECS)
    assert sample["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ids": np.array([[1, 2, 2**63]], np.uint64)},
            "input 'ids': has 9223372036854775808 at [0, 2], expected finite",
        ),
        ({"x": np.array([[1e300, 0]])}, "input 'x': has 1e+300 at [0, 0], expected finite float32 values"),
        ({"x": np.ones((1, 2), np.int64)}, "input 'x': expected dtype float32, got int64"),
        ({"ids": np.ones((1, 3), np.float32)}, "input 'ids': expected dtype int64, got float32"),
        ({"x": None}, "input 'x': expected an array, got a NoneType"),
    ],
)
def test_what_does_not_fit(change, message):
    with pytest.raises(TvmqError) as caught:
        list(given_samples([{"x": FLOATS, "ids": IDS, **change}], SPECS))
    assert str(caught.value).startswith("calibration sample 0, ") and message in str(caught.value)


def test_a_program_that_raises():
    def samples():
        yield {"x": FLOATS, "ids": IDS}
        raise OSError("disk is gone")

    found = iter(given_samples(samples(), SPECS))
    next(found)
    with pytest.raises(
        TvmqError, match="the calibration samples raised OSError after 1 of them: disk is gone"
    ):
        next(found)


def test_length_is_known_where_it_is():
    assert len(given_samples([1, 2], SPECS)) == 2
    assert not isinstance(given_samples(iter([]), SPECS), Sized)
