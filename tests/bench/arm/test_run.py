"""The command: its table, a small model from file to counts, and what it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tvmq.bench.arm import peers, run
from tvmq.bench.arm.cores import CORES
from tvmq.bench.arm.modelled import Function
from tvmq.bench.arm.tables import engine_table, function_table
from tvmq.errors import TvmqError

OURS = [Function("kernel", "mod.so", 3e6, 6e6, 2e6, 1e6, 2e7), Function("main", "x", 1e6, 1e6, 0, 0, 0)]
PEER = [Function("theirs", "y.so", 8e6, 8e6, 1e6, 1e6, 0)]


def test_engines():
    table = engine_table({"tvmq int8": OURS, "peer": PEER}, CORES["a55"], ["peer", "absent"])
    assert table.to_markdown()[0] == (
        "| engine | Mcycles | ms, 1.4 / 2 GHz | Minstr | IPC | MB read | MB written | MB memory | bound ms | vs peer |"
    )
    assert table.rows == [
        ["tvmq int8", "4.000", "2.857 / 2.000", "7.000", "1.75", "2.000", "1.000", "20.000", "2.000", "2.00"],
        ["peer", "8.000", "5.714 / 4.000", "8.000", "1.00", "1.000", "1.000", "-", "-", "1.00"],
    ]


def test_functions():
    table = function_table(OURS, {"kernel": 12e6}, limit=1)
    assert [row[:3] for row in table.rows] == [
        ["kernel", "3.000", "75.0%"],
        ["1 others", "1.000", "25.0%"],
        ["all", "4.000", "100.0%"],
    ]
    assert [row[-3:] for row in table.rows] == [
        ["12.000", "4.00", "2.00"],
        ["-", "-", "-"],
        ["12.000", "3.00", "1.71"],
    ]


@pytest.fixture
def model(tmp_path):
    """The path of a matrix product."""
    weights = numpy_helper.from_array(np.ones((16, 8), np.float32), "w")
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 16]), ("y", [1, 8]))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weights]
    )
    path = tmp_path / "product.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_counting_a_model(model, program, tmp_path, capsys):
    arguments = [str(model), "--cpus", "a53", "--schemes", "float", "--count-only", "--by-kernel"]
    assert run.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "product.onnx on cortex-a53, one thread, one run" in capsys.readouterr().out
    kernels = (tmp_path / "out-product-a53-tvmq-float.md").read_text()
    (row,) = [line for line in kernels.splitlines() if line.startswith("| matmul_1x16_8ch |")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1] == "-"  # no cycles
    assert float(cells[5]) > 0  # MB read
    assert "| tvmq float |" in (tmp_path / "out-product-a53.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kws", "--cpus", "a54"], "unknown core 'a54'; did you mean"),
        (["kws", "--peers", "onnxruntime"], "unknown peer 'onnxruntime'; did you mean"),
        (["kws", "--runs", "0"], "--runs 0: expected a positive number"),
        (["absent.onnx"], "no file absent.onnx"),
        (["kws", "--output", "absent/x"], "absent is no folder that can be written to"),
    ],
)
def test_refused(arguments, message, capsys):
    assert run.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_model_without_a_tflite_file(model):
    with pytest.raises(TvmqError, match="no .tflite file of product; there are of resnet8, kws, mobilenetv2"):
        peers.PEERS["LiteRT int8"].model(run.load_subject(str(model), 1))
