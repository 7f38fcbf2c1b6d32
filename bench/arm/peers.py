"""The peers as programs for a core: their arm64 wheels, in an arm64 Python.

Their models are made here, by their own tools: onnxruntime's quantizer, ncnn's converter; LiteRT's come quantized.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import TvmqError
from ...runtime.libraries import call
from .. import peers as host_peers
from ..cache import cache_root
from ..engines import Settings, folder_for
from ..subjects import Subject, data_root
from .arm64_python import interpreter, wheels
from .cores import Core
from .emulator import Program
from .programs import Prepared

DRIVER = Path(__file__).parent / "driver.py"
NUMPY = "numpy==2.4.6"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Keeps threads that only wait, NumPy's among them, out of the counts."""
TFLITE = {
    "resnet8": "tflite/ic_resnet8_int8.tflite",
    "kws": "tflite/kws_dscnn_int8.tflite",
    "mobilenetv2": "tflite/mobilenet_v2_1.0_224_quant.tflite",
}
"""Models of ``subjects.MODELS`` to the same networks as quantized ``.tflite`` files, in the data folder."""


@dataclass(frozen=True)
class Peer:
    """Somebody else's engine.

    Attributes
    ----------
    name : as the tables show it.
    engine : key of the driver's ``ENGINES``.
    wheel : the package that has it, with its version.
    model : returns what the driver loads, made if need be; raises ``TvmqError`` where there is no such model.
    """

    name: str
    engine: str
    wheel: str
    model: Callable[[Subject], Path]

    def prepare(self, subject: Subject, core: Core, folder: Path) -> Prepared:
        """Return the program that runs the model; it is the same for every core."""
        program, environment = interpreter()
        data = folder / "input.npy"
        np.save(data, subject.data.samples[:1])
        arguments = [str(program), str(DRIVER), self.engine, str(self.model(subject)), str(data)]
        environment |= {"PYTHONPATH": str(wheels([NUMPY, self.wheel])), **ONE_THREAD}
        return Program(lambda runs: [*arguments, str(runs)], environment), {}


def _onnx(subject: Subject) -> Path:
    return subject.path


def _onnx_int8(subject: Subject) -> Path:
    (engine,) = (peer for peer in host_peers.PEERS if peer.name == "onnxruntime int8")
    folder = folder_for(engine, subject, Settings(1, "", "native"))
    return host_peers.quantize_with_onnxruntime(subject, folder)


def _tflite(subject: Subject) -> Path:
    if subject.model.name not in TFLITE:
        raise TvmqError(f"no .tflite file of {subject.model.name}; there are of {', '.join(TFLITE)}")
    return data_root() / TFLITE[subject.model.name]


def _ncnn(subject: Subject) -> Path:
    """Convert with pnnx, which writes beside the file that it reads."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None:
        raise TvmqError("pnnx is not installed: pip install 'tvmq[bench]'")
    folder = cache_root() / f"ncnn-{subject.model.name}-{subject.digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.onnx"
    if not model.with_name("model.ncnn.bin").exists():
        model.write_bytes(subject.path.read_bytes())
        shape = ",".join(map(str, subject.input_shape))
        tool = Path(spec.submodule_search_locations[0]) / "pnnx"
        call(
            [str(tool), str(model), f"inputshape=[{shape}]", "fp16=0"], f"pnnx cannot convert {subject.path}"
        )
    return model.with_name("model.ncnn")


PEERS: dict[str, Peer] = {
    row.name: row
    for row in (
        Peer("onnxruntime float", "onnxruntime", "onnxruntime==1.32.0", _onnx),
        Peer("onnxruntime int8", "onnxruntime", "onnxruntime==1.32.0", _onnx_int8),
        Peer("LiteRT int8", "litert", "ai-edge-litert==2.3.0", _tflite),
        # It computes in half precision where the core can.
        Peer("ncnn float", "ncnn", "ncnn==1.0.20261020", _ncnn),
    )
}
