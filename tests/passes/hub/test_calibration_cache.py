"""The file of parameters: written, read back, and what is said of a wrong one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.passes.hub.calibration_cache import (
    Activation,
    CalibrationCache,
    Range,
    Weights,
    read_cache,
    write_cache,
)

CACHE = CalibrationCache(
    {"conv2": Activation(0.5, 3, "uint8", 8), "a/b:2": Activation(1.25, -7), "x": Range(-1.0, 2.5)},
    {"conv2": Weights((0.5, 0.25), 4), "conv1": Weights((1.0,))},
    "abc",
)
TEXT = """{
  "format": "tvmq-calibration",
  "version": 1,
  "model": "abc",
  "activations": {
    "a/b:2": {"scale": 1.25, "zero_point": -7},
    "conv2": {"scale": 0.5, "zero_point": 3, "dtype": "uint8", "bits": 8},
    "x": {"low": -1.0, "high": 2.5}
  },
  "weights": {
    "conv1": {"scales": [1.0]},
    "conv2": {"scales": [0.5, 0.25], "bits": 4}
  }
}
"""


def test_one_tensor_a_line_sorted_by_name(tmp_path):
    write_cache(tmp_path / "c.json", CACHE)
    assert (tmp_path / "c.json").read_text() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_what_is_written_is_read_back(tmp_path):
    for cache in (CACHE, CalibrationCache()):
        write_cache(tmp_path / "c.json", cache)
        assert read_cache(tmp_path / "c.json") == cache


def test_the_least_file_of_another_tool(tmp_path):
    head = {"format": "tvmq-calibration", "version": 1}
    (tmp_path / "c.json").write_text(json.dumps({**head, "weights": {"a": {"scales": 0.5}}}))
    assert read_cache(tmp_path / "c.json") == CalibrationCache(weights={"a": Weights((0.5,))})


def _activation(record):
    return {"activations": {"a": record}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, '"format": "tvmq-calibration"'),
        ({"version": 2}, "its version is 2, expected 1"),
        ({"activation": {}}, "unknown key 'activation'; did you mean 'activations'"),
        ({"model": 3}, "'model' must be a text, got 3"),
        ({"activations": []}, "'activations' must be an object"),
        (_activation(3), "activations, 'a': expected an object, got 3"),
        (_activation({"scale": 1.0}), "'a': there is no 'zero_point'"),
        (_activation({"scale": 1.0, "zero_point": 0, "zeropoint": 0}), "did you mean 'zero_point'"),
        (_activation({"scale": 0.0, "zero_point": 0}), "a scale must be a positive float32, got 0.0"),
        (_activation({"scale": float("nan"), "zero_point": 0}), "a positive float32, got nan"),
        (_activation({"scale": 1e300, "zero_point": 0}), "a positive float32, got 1e[+]300"),
        (_activation({"scale": True, "zero_point": 0}), "a positive float32, got True"),
        (_activation({"scale": 1.0, "zero_point": 0.5}), "a zero point must be a whole number, got 0.5"),
        (_activation({"scale": 1.0, "zero_point": 0, "bits": 9}), "from 2 to 8, got 9"),
        (
            _activation({"scale": 1.0, "zero_point": 0, "dtype": "int4"}),
            "unknown dtype of an activation 'int4'",
        ),
        (_activation({"low": 0.0}), "'a': there is no 'high'"),
        (_activation({"low": 1.0, "high": 1.0}), "two finite numbers, low < high"),
        (_activation({"low": 0.0, "high": 1.0, "scale": 1.0}), "unknown key 'scale'"),
        ({"weights": {"a": {"scales": []}}}, "scales of weights are empty"),
        ({"weights": {"a": {"scales": [1.0, "x"]}}}, "a positive float32, got 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_the_tensor(tmp_path, change, message):
    (tmp_path / "c.json").write_text(json.dumps({"format": "tvmq-calibration", "version": 1, **change}))
    with pytest.raises(TvmqError, match=message) as caught:
        read_cache(tmp_path / "c.json")
    assert "c.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON: .* line 1"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ("[]", "an object"),
    ],
)
def test_no_json(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(TvmqError, match=message):
        read_cache(tmp_path / "c.json")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(TvmqError, match="cannot read calibration cache .*No such file"):
        read_cache(tmp_path / "c.json")
    with pytest.raises(TvmqError, match="cannot write calibration cache .*No such file"):
        write_cache(tmp_path / "folder" / "c.json", CACHE)


def test_a_float32_survives_the_decimal_text(tmp_path):
    scales = np.random.default_rng(0).lognormal(sigma=20, size=100).astype("float32")
    write_cache(tmp_path / "c.json", CalibrationCache(weights={"a": Weights(tuple(map(float, scales)))}))
    read = read_cache(tmp_path / "c.json").weights["a"].scales
    np.testing.assert_array_equal(np.array(read, "float32"), scales)
