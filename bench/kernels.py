"""One operator in each engine, timed as near to the kernel as the engine lets us.

- onnxruntime: a call with its input bound; convolutions in float include the change of layout that it makes
- OpenVINO: its own clock of that node, in whole microseconds
- tvmq: its own clock of that kernel
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from . import operators
from .engines import Settings
from .latency import Timer
from .operators import INPUT_SCALE, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, WEIGHT_SCALE, Operator


@dataclass(frozen=True)
class Kernel:
    """An operator that is ready.

    Attributes
    ----------
    timer : times it.
    isa : as in ``engines.Built``.
    """

    timer: Timer
    isa: str


Build = Callable[[Operator, Settings], Kernel]


@dataclass(frozen=True)
class KernelEngine:
    """One contender.

    Attributes
    ----------
    name : unique.
    package : distribution whose version decides the result.
    is_int8, is_peer : as in ``engines.Engine``.
    obeys_isa : whether ``--isa`` limits it.
    build : makes the operator.
    """

    name: str
    package: str
    is_int8: bool
    is_peer: bool
    obeys_isa: bool
    build: Build


def _with_sample(operator: Operator, is_int8: bool) -> tuple[onnx.ModelProto, np.ndarray]:
    """Return the model between transposes to NCHW, which engines of another layout take away, and an input."""
    model = operators.int8_model(operator) if is_int8 else operators.float_model(operator)
    sample = operators.sample(operator, is_int8)
    if operator.kernel:
        sample = np.ascontiguousarray(sample.transpose(0, 2, 3, 1))
    return operators.channels_last(model), sample


def _onnxruntime(is_int8: bool) -> Build:
    def build(operator: Operator, settings: Settings) -> Kernel:
        import onnxruntime

        model, sample = _with_sample(operator, is_int8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        binding.bind_cpu_input("x", sample)
        binding.bind_output("y")

        def seconds_a_run(number: int) -> float:
            start = time.perf_counter()
            for _ in range(number):
                session.run_with_iobinding(binding)
            return (time.perf_counter() - start) / number

        return Kernel(seconds_a_run, "whatever the CPU has")

    return build


def _openvino(is_int8: bool) -> Build:
    def build(operator: Operator, settings: Settings) -> Kernel:
        import openvino

        compiled = openvino.Core().compile_model(
            _openvino_model(operator, is_int8),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": settings.threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": "f32",
                "PERF_COUNT": True,
            },
        )
        request = compiled.create_infer_request()
        request.infer([operators.sample(operator, is_int8)])
        kinds = ("Convolution", "FullyConnected", "MatMul")
        isa = next(info.exec_type for info in request.get_profiling_info() if info.node_type in kinds)

        def seconds_a_run(number: int) -> float:
            total = 0.0
            for _ in range(number):
                request.infer()
                total += sum(
                    info.real_time.total_seconds()
                    for info in request.get_profiling_info()
                    if info.node_type in kinds
                )
            return total / number

        return Kernel(seconds_a_run, isa)

    return build


def _openvino_model(operator: Operator, is_int8: bool):
    """Return the operator in the form that OpenVINO's quantizer makes: its ONNX reader lacks QLinearMatMul."""
    import openvino
    from openvino import opset13 as ops

    def constant(value: float | np.ndarray):
        return ops.constant(np.asarray(value, np.float32))

    values = operators.weights(operator)
    if is_int8:
        given = ops.parameter(operator.input_shape, np.uint8, name="x")
        centred = ops.subtract(ops.convert(given, "f32"), constant(INPUT_ZERO_POINT))
        data = ops.multiply(centred, constant(INPUT_SCALE))
        weight = ops.multiply(ops.convert(ops.constant(values), "f32"), constant(WEIGHT_SCALE))
    else:
        given = data = ops.parameter(operator.input_shape, np.float32, name="x")
        weight = constant(values.astype(np.float32) * WEIGHT_SCALE)
    if operator.kernel:
        front, back = operator.padding
        strides = [operator.stride] * 2
        result = ops.convolution(data, weight, strides, [front, front], [back, back], [1, 1])
    else:
        result = ops.matmul(data, weight, transpose_a=False, transpose_b=False)
    if is_int8:
        scale = operators.output_scale(operator)
        low, high = -OUTPUT_ZERO_POINT * scale, (255 - OUTPUT_ZERO_POINT) * scale
        limits = (constant(limit) for limit in (low, high, 0, 255))
        result = ops.convert(ops.fake_quantize(result, *limits, 256), "u8")
    return openvino.Model([ops.result(result)], [given], operator.name)


def _tvmq(is_int8: bool) -> Build:
    def build(operator: Operator, settings: Settings) -> Kernel:
        import tvmq

        model, sample = _with_sample(operator, is_int8)
        package = tvmq.compile(model, settings.target)
        feed = {"x": sample}

        def seconds_a_run(number: int) -> float:
            kernels = package.profile(feed, number)
            return sum(kernel.seconds for kernel in kernels if kernel.layers == (operators.NODE,))

        return Kernel(seconds_a_run, settings.target)

    return build


ENGINES: dict[str, KernelEngine] = {
    row.name: row
    for row in (
        KernelEngine("onnxruntime int8", "onnxruntime", True, True, False, _onnxruntime(True)),
        KernelEngine("OpenVINO int8", "openvino", True, True, True, _openvino(True)),
        KernelEngine("tvmq int8", "tvmq", True, False, True, _tvmq(True)),
        KernelEngine("onnxruntime float", "onnxruntime", False, True, False, _onnxruntime(False)),
        KernelEngine("OpenVINO float", "openvino", False, True, True, _openvino(False)),
        KernelEngine("tvmq float", "tvmq", False, False, True, _tvmq(False)),
    )
}
