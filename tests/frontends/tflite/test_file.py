"""Files of TFLite: what they hold, and those that hold something else."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.files import is_tflite, load_model
from tvmq.frontends.tflite.file import read
from tvmq.passes.hub.graph import output_names
from tvmq.passes.hub.layers import get_layers

from .writer import Writer


def small() -> tuple[Writer, list[int]]:
    w = Writer()
    x = w.input("x", (2, 6), "int8", 0.5, 3)
    weight = w.constant(np.ones((3, 6)), "int8", scale=[0.1, 0.2, 0.3], zero_point=np.zeros(3))
    return w, [
        w.op("FULLY_CONNECTED", [x, weight, -1], w.tensor("y", (2, 3), "int8", 0.25, -7), keep_num_dims=True)
    ]


def test_what_a_file_says(tmp_path: Path):
    w, outputs = small()
    model = read(w.save(tmp_path / "model.tflite", outputs))
    x, weight, y = model.tensors
    assert (x.name, x.shape, x.dtype, x.value) == ("x", (2, 6), "int8", None)
    assert (y.quantization.scale, y.quantization.zero_point) == ((0.25,), (-7,))
    assert weight.quantization.scale == tuple(np.float32([0.1, 0.2, 0.3]).tolist())
    np.testing.assert_array_equal(weight.value, np.ones((3, 6)))
    (operator,) = model.operators
    assert (operator.name, operator.inputs, operator.outputs) == ("FULLY_CONNECTED", (0, 1, -1), (2,))
    assert operator.options["keep_num_dims"] and operator.options["weights_format"] == 0
    assert (model.inputs, model.outputs) == ((0,), (2,))


def test_four_bits_are_unpacked(tmp_path: Path):
    w = Writer()
    values = np.array([[-8, 7, 3], [0, -1, 5]])
    w.constant(values, "int4", scale=0.1)
    np.testing.assert_array_equal(read(w.save(tmp_path / "m.tflite", [])).tensors[0].value, values)


def test_a_name_twice(tmp_path: Path):
    w = Writer()
    x = w.input("a", (4,))
    first = w.op("RELU", [x], w.tensor("a", (4,), "float32"))
    path = w.save(tmp_path / "m.tflite", [w.op("NEG", [first], w.tensor("a", (4,), "float32"))])
    (got,) = tvmq.compile(str(path)).run({"a": np.float32([1, -1, 2, -2])}).items()
    assert got[0] == "a_3"
    np.testing.assert_array_equal(got[1], [-1, 0, -2, 0])


def test_names_of_fused_operators_are_cut(tmp_path: Path):
    w = Writer()
    first = w.op("RELU", [w.input("x", (4,))], w.tensor("net/relu;net/bias;net/conv", (4,), "float32"))
    path = w.save(
        tmp_path / "m.tflite", [w.op("NEG", [first], w.tensor("net/relu;net/neg", (4,), "float32"))]
    )
    mod = tvmq.load_tflite(path)
    assert [layer.name for layer in get_layers(mod)] == ["net/relu", "net/relu_2"]
    assert output_names(mod) == ["net/relu;net/neg"]
    assert len(get_layers(tvmq.load_tflite(path, outputs=["net/relu"]))) == 1


def test_a_file_is_told_by_its_first_bytes(tmp_path: Path):
    w, outputs = small()
    path = w.save(tmp_path / "model.bin", outputs)
    assert is_tflite(path) and not is_tflite(tmp_path / "missing")
    assert load_model(path)["main"].params[0].name == "x"


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    for name in ("pipe.onnx", "pipe.tflite"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(TvmqError, match="cannot be read: it is no regular file"):
            load_model(tmp_path / name)


def test_truncated_files_are_refused_at_once(tmp_path: Path):
    w, outputs = small()
    data = w.bytes(outputs)
    path = tmp_path / "model.tflite"
    started = time.monotonic()
    for length in range(0, len(data) - 64, 7):
        path.write_bytes(data[:length])
        with pytest.raises(TvmqError, match=re.escape(str(path))):
            tvmq.load_tflite(path)
    assert time.monotonic() - started < 20


def _changed(**change) -> Writer:
    w, _ = small()
    w.tensors[1].update(change)
    return w


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (lambda: _changed(shape=(3, 7)), "tensor 'c1' of the shape .3, 7. has 18 bytes, and int8 takes 21"),
        (lambda: _changed(shape=(3, -6)), "tensor 'c1' has the shape .3, -6., which is none"),
        (
            lambda: _changed(scale=np.float32([0.1, 0.2])),
            "has 2 scales and 3 zero points on axis 0, which do not fit",
        ),
        (
            lambda: _changed(scale=np.float32([0.1, -1, 1])),
            "tensor 'c1' has the scale -1, and positive numbers were",
        ),
        (lambda: _changed(zeros=np.int64([2**40, 0, 0])), "tensor 'c1' has a zero point beyond int32"),
    ],
)
def test_tensors_that_contradict_themselves(tmp_path: Path, writer, message: str):
    path = writer().save(tmp_path / "model.tflite", [2])
    with pytest.raises(TvmqError, match=message):
        tvmq.load_tflite(path)


def test_a_place_that_no_tensor_has(tmp_path: Path):
    w, outputs = small()
    w.operators[0] = ("FULLY_CONNECTED", [0, 9, -1], outputs, {})
    with pytest.raises(TvmqError, match="has a place that none of the 3 tensors has"):
        tvmq.load_tflite(w.save(tmp_path / "model.tflite", outputs))


def test_operators_in_a_circle(tmp_path: Path):
    w = Writer()
    x = w.input("x", (4,))
    a, b = w.tensor("a", (4,), "float32"), w.tensor("b", (4,), "float32")
    w.op("ADD", [x, b], a)
    w.op("NEG", [a], b)
    with pytest.raises(TvmqError, match="TFLite operator 'a' .ADD. reads 'b', which no input"):
        tvmq.load_tflite(w.save(tmp_path / "model.tflite", [b]))


def test_what_is_no_file(tmp_path: Path):
    with pytest.raises(TvmqError, match="does not exist"):
        tvmq.load_tflite(tmp_path / "missing.tflite")
    (tmp_path / "text.tflite").write_text("not a model")
    with pytest.raises(TvmqError, match="is no TFLite model: it does not start with the identifier TFL3"):
        tvmq.load_tflite(tmp_path / "text.tflite")
