"""A small package and the command line in this process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.tvmc.main import main

DIGITS = Path(__file__).parents[2] / "examples" / "digits"

OUTPUTS = ["sum/of:0", "[bold]"]
CONV = {
    "data_scale": 0.0123456789,
    "data_zero_point": 3,
    "output_dtype": "uint8",
    "output_scale": 0.5,
    "output_zero_point": 128,
    "weight_shape": [4, 3, 1, 1],
    "weight_bits": 8,
    "weight_bytes": 12,
    "weight_scale_min": 0.001,
    "weight_scale_max": 0.25,
}
LAYERS = [
    ("conv[1]", "Conv", "int8", "", CONV),
    ("soft max", "Softmax", "float", "no integer kernel", {}),
    ("bn", "BatchNormalization", "folded", "", {"fused_into": "conv[1]"}),
]


class Result(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def tvmc(capsys):
    """Give the command line as a function of its arguments; wrong usage is exit code 2, as in a shell."""

    def call(*arguments: object) -> Result:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = int(exit.code or 0)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def package_path(tmp_path_factory) -> Path:
    """A package with inputs ``x`` float32[2,3] and ``n:0`` int64[1], outputs ``x + n`` and ``2 * x``."""
    import tvm
    from tvm import relax

    from tvmq.passes.hub.layers import Layer
    from tvmq.runtime.describe import describe
    from tvmq.runtime.package import Package

    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    n = relax.Var("n:0", relax.TensorType((1,), "int64"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, n]):
        with builder.dataflow():
            total = builder.emit(relax.op.add(x, relax.op.astype(n, "float32")))
            double = builder.emit(relax.op.multiply(x, relax.const(np.float32(2))))
            result = builder.emit_output(relax.Tuple([total, double]))
        builder.emit_func_output(result)
    module = builder.get()
    target = tvm.target.Target({"kind": "llvm", "mcpu": "generic"})
    kernels = [("kernel", ["conv[1]"])]
    metadata = describe(module, target, "int8", [Layer(*layer) for layer in LAYERS], kernels)
    for tensor, name in zip(metadata["outputs"], OUTPUTS, strict=True):
        tensor["name"] = name
    path = tmp_path_factory.mktemp("package") / "a model.tar"
    Package.from_executable(tvm.compile(module, target), metadata).export(path)
    return path


@pytest.fixture(scope="session")
def digits_path(tmp_path_factory) -> Path:
    """The example's network in float, for this machine: input ``image`` float32[1,1,8,8], output ``scores``."""
    import tvmq

    path = tmp_path_factory.mktemp("digits") / "digits.tar"
    tvmq.compile(DIGITS / "digits.onnx").export(path)
    return path


@pytest.fixture(scope="session")
def tracker():
    """Host and port of an RPC tracker in this machine, at which a device ``board`` has registered."""
    for name in ("cloudpickle", "psutil", "tornado"):
        pytest.importorskip(name, reason=f"TVM's tracker and server need {name}")
    from tvm.rpc.server import Server
    from tvm.rpc.tracker import Tracker

    from tvmq.tuning.devices import Devices

    tracker = Tracker(host="127.0.0.1", port=9290, port_end=9390, silent=True)
    server = Server(
        host="127.0.0.1", key="board", tracker_addr=("127.0.0.1", tracker.port), silent=True, no_fork=False
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            Devices("127.0.0.1", tracker.port, "board").check()
            break
        except TvmqError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield "127.0.0.1", tracker.port
    server.terminate()
    tracker.terminate()
