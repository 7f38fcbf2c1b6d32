"""External data: what of the model's folder is read, and that nothing else is."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.frontends.onnx.read import read_model

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def _outside(dims=(2, 3), data_type=TensorProto.FLOAT, **entries) -> TensorProto:
    tensor = TensorProto(name="w", data_type=data_type, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def _model(tensor: TensorProto, *, inside: str = "") -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in "xy")
    nodes, weights = [helper.make_node("Add", ["x", "w"], ["y"])], [tensor]
    if inside == "constant":
        nodes, weights = [helper.make_node("Constant", [], ["w"], value=tensor), *nodes], []
    elif inside == "branch":
        branch = helper.make_graph(nodes, "branch", [], [y], weights)
        nodes = [helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)]
        weights = [helper.make_tensor("c", TensorProto.BOOL, (), [True])]
        y = helper.make_tensor_value_info("z", TensorProto.FLOAT, (2, 3))
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture
def folder(tmp_path):
    """A folder ``in`` for a model with a file of weights and what leads elsewhere, and a file beside it."""
    inner = tmp_path / "in"
    inner.mkdir()
    (tmp_path / "out.bin").write_bytes(WEIGHT.tobytes())
    (inner / "w.bin").write_bytes(b"head" + WEIGHT.tobytes())
    os.symlink("w.bin", inner / "same.bin")
    os.symlink("../out.bin", inner / "link.bin")
    os.symlink("..", inner / "up")
    os.symlink("loop", inner / "loop")
    os.mkfifo(inner / "pipe")
    return inner


def _path(folder, model: onnx.ModelProto):
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("inside", ["", "constant", "branch"])
@pytest.mark.parametrize("location", ["w.bin", "same.bin", "up/in/w.bin"])
def test_a_file_of_the_folder(folder, location, inside):
    tensor = _outside(location=location, offset=4, length=24)
    read = read_model(_path(folder, _model(tensor, inside=inside)))
    assert WEIGHT.tobytes() in read.SerializeToString()
    assert [param.name for param in load_onnx(folder / "m.onnx")["main"].params] == ["x"]


def test_four_bit_weights_lie_two_to_a_byte(folder):
    tensor = _outside(dims=(3, 3), data_type=TensorProto.INT4, location="w.bin", offset=4)
    assert read_model(_path(folder, _model(tensor))).graph.initializer[0].raw_data == WEIGHT.tobytes()[:5]


@pytest.mark.parametrize("inside", ["", "constant", "branch"])
def test_nothing_outside_is_read(folder, inside):
    out = str(folder.parent / "out.bin")
    for location in (
        "../out.bin",
        "up/out.bin",
        "link.bin",
        out,
        str(folder / "w.bin"),
        "/dev/zero",
        "in/../../out.bin",
    ):
        with pytest.raises(TvmqError, match="leads out of the model's folder") as caught:
            load_onnx(_path(folder, _model(_outside(location=location), inside=inside)))
        assert repr(location) in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "lost.bin"}, "file 'lost.bin': No such file or directory"),
        ({"location": "pipe"}, "'pipe' is no regular file"),
        ({"location": "loop"}, "file 'loop': Too many levels"),
        ({"location": ""}, "Is a directory"),
        ({"location": "."}, "Is a directory"),
        ({"location": "w\0.bin"}, "null byte"),
        ({"location": "n" * 5000}, "File name too long"),
        ({"location": "w.bin", "offset": 8}, "'w.bin' has 28 bytes, and 24 from offset 8 on are asked for"),
        ({"location": "w.bin", "offset": 2**62}, "from offset 4611686018427387904 on"),
        ({"location": "w.bin", "offset": -8}, "its offset is '-8', and a number of bytes was expected"),
        ({"location": "w.bin", "offset": "9" * 5000}, "its offset is '9999"),
        ({"location": "w.bin", "length": "many"}, "its length is 'many'"),
        ({"location": "w.bin", "length": 8}, r"its shape \[2, 3\] takes 24 bytes, and 8 are stored"),
        ({"location": "w.bin", "length": 2**40}, "takes 24 bytes, and 1099511627776 are stored"),
        ({"location": "w.bin", "dims": (2**40, 2**40)}, "GiB of external data, and its import takes 2 times"),
        ({"location": "w.bin", "dims": (2, -3)}, "an extent of .* is negative"),
        ({"location": "w.bin", "data_type": 99}, "ONNX data type 99 is unknown"),
        ({"location": "w.bin", "data_type": TensorProto.STRING}, "it holds text, and numbers were expected"),
    ],
)
def test_what_does_not_fit(folder, entries, message):
    with pytest.raises(TvmqError, match=message) as caught:
        load_onnx(_path(folder, _model(_outside(**entries))))
    assert "\n" not in str(caught.value)


def test_one_file_read_again_and_again(folder):
    """Weights that share a region come to more than there is of memory, though each fits."""
    with open(folder / "big.bin", "wb") as file:
        file.truncate(2**32)  # a hole, which takes no place on disk
    model = _model(_outside(dims=(2**30,), location="big.bin"))
    for index in range(10_000):
        tensor = _outside(dims=(2**30,), location="big.bin")
        tensor.name = f"w{index}"
        model.graph.initializer.append(tensor)
    with pytest.raises(TvmqError, match="40004.0 GiB of external data"):
        load_onnx(_path(folder, model))


def test_a_model_without_its_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(
        TvmqError, match="tensor 'w' of the model cannot be read: its data lie in another file"
    ):
        load_onnx(_model(_outside(location="w.bin", offset=4)))
