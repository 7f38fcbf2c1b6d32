"""Every engine that is installed builds and runs a small network, and says the same as the float reference."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tvmq.bench.datasets import Split
from tvmq.bench.engines import Settings
from tvmq.bench.isa import Isa, default_target, get_isa
from tvmq.bench.run import ENGINES
from tvmq.bench.subjects import Model, Subject
from tvmq.errors import TvmqError

MODULES = {"apache-tvm": "tvm"}


def _network() -> onnx.ModelProto:
    """A convolution with ReLU, global average pooling and a dense layer, ``[N, 3, 8, 8]`` to ``[N, 4]``."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.3, 8).astype(np.float32),
        "dense": rng.normal(0, 0.5, (8, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "dense"], ["y"], name="dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _float_results(samples: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(_network()).run(None, {"x": samples})[0]


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    samples = np.random.default_rng(1).normal(0, 1, (16, 3, 8, 8)).astype(np.float32)
    path = tmp_path / "small.onnx"
    onnx.save(_network(), path)
    data = Split(samples[:8], samples[8:], np.zeros(8, np.int64))
    return Subject(Model("small", path.name, "x", lambda root, limit: data), path, data)


@pytest.mark.parametrize("name", ENGINES)
def test_engine(name: str, subject: Subject, tmp_path: Path) -> None:
    engine = ENGINES[name]
    for package in engine.packages:
        module = MODULES.get(package, package)
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{package} is not installed: pip install 'tvmq[bench]'")
    folder = tmp_path / "kept"
    folder.mkdir()
    settings = Settings(threads=1, target=default_target(Isa("native")), isa="native")
    built = engine.build(subject, settings, folder)
    results = np.concatenate([built.run(sample[None]).copy() for sample in subject.data.samples])
    expected = _float_results(subject.data.samples)
    if not engine.is_int8:
        np.testing.assert_allclose(results, expected, rtol=1e-4, atol=1e-5)
    # 8 bits for each of a handful of tensors: each step is 1/255 of a range, so the direction turns by little.
    cosine = (results * expected).sum() / np.linalg.norm(results) / np.linalg.norm(expected)
    assert cosine > 0.99
    assert built.isa
    if built.bare_seconds is not None:
        assert built.bare_seconds(subject.data.samples[:1], 2) > 0
    # What is kept is taken, not made again.
    kept = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = engine.build(subject, settings, folder)
    np.testing.assert_array_equal(again.run(subject.data.samples[:1]), results[:1])
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == kept


def test_an_instruction_set_that_the_cpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmq.bench.machine.instruction_sets", lambda: ())
    with pytest.raises(TvmqError, match="--isa avx2: this CPU has only none of them"):
        get_isa("avx2")
