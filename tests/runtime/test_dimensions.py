"""Runs of packages with open dimensions: in C++, from many threads, as a pickle; and what refuses other sizes."""

from __future__ import annotations

import pickle
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tvmq
from tests.open_models import TARGET, at_one_size, encoder, tokens
from tvmq.errors import TvmqError
from tvmq.runtime.board import make_bundle, run_bundle
from tvmq.runtime.dimensions import RunShapes

DIMENSIONS = {"N": [1, 4], "S": [2, 9]}
IDS = {"name": "ids", "shape": [4, 9, 3], "open": {"0": "N", "1": "S"}}
MASK = {"name": "mask", "shape": [9], "open": {"0": "S"}}


def test_shapes_of_a_run():
    shapes = RunShapes(DIMENSIONS)
    assert shapes.expected(IDS, (2, 5, 3)) == (2, 5, 3)
    assert shapes.expected(MASK, (5,)) == (5,)
    assert shapes.expected({"name": "x", "shape": [7]}, (8,)) == (7,)  # whoever compares says so


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ((5, 5, 3), (5,), r"input 'ids' has 5 in dimension 0 \(N\); this package takes 1 to 4"),
        ((2, 1, 3), (1,), r"input 'ids' has 1 in dimension 1 \(S\); this package takes 2 to 9"),
        (
            (2, 5, 3),
            (6,),
            r"input 'mask' has 6 in dimension 0 \(S\), and input 'ids' has 5 there; they must agree",
        ),
    ],
)
def test_other_sizes(ids, mask, message):
    shapes = RunShapes(DIMENSIONS)
    with pytest.raises(TvmqError, match=message):
        shapes.expected(IDS, ids)
        shapes.expected(MASK, mask)


@pytest.fixture(scope="module")
def package():
    return tvmq.compile(encoder(False), TARGET, input_shapes={"N": 1, "S": "1..40"})


def test_threads_and_pickles_take_any_length(package):
    again = pickle.loads(pickle.dumps(package))
    with ThreadPoolExecutor(4) as pool:
        lengths = [1, 40, 7, 16, 39, 8, 3, 40]
        found = list(pool.map(lambda length: again.run(tokens(1, length)), lengths))
    for length, outputs in zip(lengths, found, strict=True):
        for name, array in package.run(tokens(1, length)).items():
            np.testing.assert_array_equal(outputs[name], array)


def test_the_cpp_runner_takes_any_length(package, tmp_path):
    package.export(tmp_path / "model.tar")
    folder = make_bundle(tmp_path / "model.tar", tmp_path / "board")
    for length in (40, 4):  # of fewer queries a static model's attention adds up in another order
        inputs = tokens(1, length)
        expected = at_one_size(encoder(False), inputs)
        for name, array in run_bundle(folder, inputs).items():
            np.testing.assert_array_equal(array, expected[name])
    for name, array in (("ids", (1, 41)), ("mask", (1, 40))):
        np.save(tmp_path / f"{name}.npy", np.ones(array, np.int64))
    given = [word for name in ("ids", "mask") for word in ("--input", f"{name}={tmp_path / name}.npy")]
    command = [folder / "tvmq-run", folder, *given, "--output-dir", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "input 'ids' has 41 in dimension 1 (S); this package takes 1 to 40" in done.stderr
