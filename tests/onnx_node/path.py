"""The compile path under test: import, compile for this CPU, run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import tvm
from tvm import relax

from tvmq.frontends.onnx import load_onnx


def compile_and_run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the model's outputs, in order."""
    mod = relax.transform.DecomposeOpsForInference()(load_onnx(model))
    executable = tvm.compile(mod, tvm.target.Target({"kind": "llvm"}))
    arguments = [
        tvm.runtime.tensor(np.asarray(inputs[param.name], order="C")) for param in mod["main"].params
    ]
    outputs = relax.VirtualMachine(executable, tvm.cpu())["main"](*arguments)
    return [output.numpy() for output in ([outputs] if hasattr(outputs, "numpy") else outputs)]
