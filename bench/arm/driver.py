"""Runs a model with an engine, on one thread: ``driver.py ENGINE MODEL INPUT.npy RUNS``.

A program of its own, for a Python that has the engine and NumPy but not tvmq. The input is float32 NCHW, ``[1, ...]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def run_onnxruntime(model: str, data: np.ndarray) -> Callable[[], Any]:
    """An ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: data}
    return lambda: session.run(None, feeds)


def run_litert(model: str, data: np.ndarray) -> Callable[[], Any]:
    """A ``.tflite`` file, with XNNPACK, which LiteRT uses by itself; its input is NHWC, of any dtype."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    (tensor,) = interpreter.get_input_details()
    scale, zero_point = tensor["quantization"]
    if scale:
        limits = np.iinfo(tensor["dtype"])
        data = np.clip(np.rint(data / scale) + zero_point, limits.min, limits.max)
    images = data.transpose(0, *range(2, data.ndim), 1).reshape(tensor["shape"]).astype(tensor["dtype"])
    (output,) = interpreter.get_output_details()

    def run() -> np.ndarray:
        interpreter.set_tensor(tensor["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return run


def run_ncnn(model: str, data: np.ndarray) -> Callable[[], Any]:
    """``MODEL.param`` and ``MODEL.bin`` as pnnx writes them, whose input is ``in0`` and whose output is ``out0``."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.load_param(f"{model}.param")
    net.load_model(f"{model}.bin")

    def run() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(data[0]).clone())
        return np.array(extractor.extract("out0")[1])

    return run


ENGINES = {"onnxruntime": run_onnxruntime, "litert": run_litert, "ncnn": run_ncnn}

if __name__ == "__main__":
    engine, model, array, runs = sys.argv[1:]
    run = ENGINES[engine](model, np.load(array))
    for _ in range(int(runs)):
        run()
