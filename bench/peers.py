"""The peers: onnxruntime and OpenVINO, in float and quantized by their own tools from the same samples.

They are imported only when they are built, so that the command answers without them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .engines import Build, Built, Engine, Settings, calibration_feeds
from .subjects import Subject

if TYPE_CHECKING:
    import openvino


def _onnxruntime_session(path: Path, settings: Settings) -> Built:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (output,) = session.get_outputs()
    name = next(iter(session.get_inputs())).name

    def run(sample: np.ndarray) -> np.ndarray:
        return session.run([output.name], {name: sample})[0]

    # onnxruntime has no switch that limits its instruction set, and does not tell what its kernels use.
    return Built(run, "whatever the CPU has")


def onnxruntime_float(subject: Subject, settings: Settings, folder: Path) -> Built:
    """The float model as it is."""
    return _onnxruntime_session(subject.path, settings)


def onnxruntime_static(reduce_range: bool, calibration: str = "MinMax") -> Build:
    """Return the builder of static QDQ, per channel; ``reduce_range`` makes weights 7 bits wide.

    ``calibration`` is a member of onnxruntime's ``CalibrationMethod``.
    """

    def build(subject: Subject, settings: Settings, folder: Path) -> Built:
        quantized = quantize_with_onnxruntime(subject, folder, reduce_range, calibration)
        return _onnxruntime_session(quantized, settings)

    return build


def quantize_with_onnxruntime(
    subject: Subject, folder: Path, reduce_range: bool = False, calibration: str = "MinMax"
) -> Path:
    """Return the QDQ file in the folder, made if there is none; parameters are those of ``onnxruntime_static``."""
    quantized = folder / "quantized.onnx"
    if quantized.exists():
        return quantized
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = calibration_feeds(subject)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    prepared, unfinished = folder / "prepared.onnx", folder / "unfinished.onnx"
    quant_pre_process(subject.path, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        unfinished,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduce_range,
        calibrate_method=CalibrationMethod[calibration],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    unfinished.rename(quantized)
    return quantized


def _read_with_openvino(subject: Subject) -> openvino.Model:
    import openvino

    model = openvino.convert_model(subject.path)
    model.reshape({subject.model.input: list(subject.input_shape)})
    return model


def _openvino_session(model: openvino.Model, settings: Settings) -> Built:
    import openvino

    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": settings.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Else it computes in bfloat16 where the CPU can, and is no longer the float model.
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()

    def run(sample: np.ndarray) -> np.ndarray:
        # The result lives in memory that the next call overwrites.
        return request.infer([sample], share_inputs=True, share_outputs=True)[0].copy()

    return Built(run, _openvino_isa(compiled))


def _openvino_isa(compiled: openvino.CompiledModel) -> str:
    """Return the commonest two implementations that the model's convolutions and products got."""
    kernels: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul"):
            kernels[info["primitiveType"].astype(str)] += 1
    return ", ".join(name for name, _ in kernels.most_common(2))


def openvino_float(subject: Subject, settings: Settings, folder: Path) -> Built:
    """The float model as it is."""
    return _openvino_session(_read_with_openvino(subject), settings)


def nncf_static(preset: str) -> Build:
    """Return the builder of NNCF's post-training quantization: ``preset`` is ``"MIXED"`` (symmetric weights,
    asymmetric activations) or ``"PERFORMANCE"`` (all symmetric)."""

    def build(subject: Subject, settings: Settings, folder: Path) -> Built:
        import openvino

        quantized = folder / "quantized.xml"
        if not quantized.exists():
            _quantize_with_nncf(subject, quantized, preset)
        return _openvino_session(openvino.Core().read_model(quantized), settings)

    return build


def _quantize_with_nncf(subject: Subject, quantized: Path, preset: str) -> None:
    import nncf
    import openvino

    samples: list[Any] = list(calibration_feeds(subject))
    model = nncf.quantize(
        _read_with_openvino(subject),
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset[preset],
        subset_size=len(samples),
    )
    unfinished = quantized.with_name("unfinished.xml")
    openvino.save_model(model, unfinished, compress_to_fp16=False)
    # The weights first: the .xml marks the pair as complete.
    unfinished.with_suffix(".bin").rename(quantized.with_suffix(".bin"))
    unfinished.rename(quantized)


_ORT = ("onnxruntime",)
_OPENVINO = ("openvino", "nncf")

PEERS: tuple[Engine, ...] = (
    Engine("onnxruntime float", _ORT, False, True, onnxruntime_float),
    Engine("onnxruntime int8", _ORT, True, True, onnxruntime_static(reduce_range=False)),
    Engine("onnxruntime int8, reduce_range", _ORT, True, True, onnxruntime_static(reduce_range=True)),
    Engine("OpenVINO float", _OPENVINO, False, True, openvino_float),
    Engine("OpenVINO int8, NNCF mixed", _OPENVINO, True, True, nncf_static("MIXED")),
    Engine("OpenVINO int8, NNCF performance", _OPENVINO, True, True, nncf_static("PERFORMANCE")),
)
REFERENCE = PEERS[0]
"""The float engine that accuracy and latency are compared with."""
