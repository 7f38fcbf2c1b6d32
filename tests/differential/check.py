"""A graph of the generator, compiled and run: what differs from the reference, and by how much it may."""

from __future__ import annotations

import numpy as np
import onnx
import tvm
from onnx import helper, numpy_helper
from tvm import relax

from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.prepare.prepare import Prepare
from tvmq.passes.realize.layout import Layout
from tvmq.passes.realize.realize import Realize
from tvmq.schedules.pipeline import build
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from .draft import Graph

TOLERANCES = {"float16": 2e-2, "float32": 2e-4, "float64": 2e-4}
"""Of the largest number of a tensor: what errors of a dtype's last bits come to behind a few operators."""


def run(mod: tvm.IRModule, target: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Compile a module, as ``tvmq.compile`` does but without the linker, and return its outputs in order."""
    parsed = parse_target(target)
    row = row_of(parsed)
    built = build(Realize(row)(Layout()(mod)), parsed, row)
    device = tvm.cpu() if row.gpu is None else tvm.cuda(0)
    main = relax.VirtualMachine(built.executable, device)["main"]
    results = main(*(tvm.runtime.tensor(inputs[param.name], device) for param in mod["main"].params))
    results = [results] if isinstance(results, tvm.runtime.Tensor) else list(results)
    return [result.numpy() for result in results]


def differences(graph: Graph, target: str = "llvm -mcpu=native") -> list[str]:
    """Return a line for each value that is not the reference's, or one for what was raised."""
    try:
        results = run(Prepare()(load_onnx(graph.model)), target, graph.inputs)
    except Exception as error:  # whatever is raised is a finding
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        return [f"{type(error).__name__}: {lines[0][:300]}"]
    found = []
    for (name, expected), result in zip(graph.expected.items(), results, strict=True):
        reason = difference(result, expected)
        if reason:
            found.append(f"{graph.operators[name]} ({name}): {reason}")
    return found


def isolated(graph: Graph, target: str = "llvm -mcpu=native") -> Graph:
    """Return a graph of the first node that differs when it is alone, of the reference's inputs; else the graph."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.model.graph.initializer}
    arrays |= graph.inputs | graph.expected
    for node in graph.model.graph.node:
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        outputs = [name for name in node.output if name]
        for kept, wanted in (
            (model.graph.node, lambda one, node=node: one == node),
            (model.graph.output, lambda one, outputs=outputs: one.name in outputs),
            (model.graph.initializer, lambda one, node=node: one.name in node.input),
        ):
            chosen = [one for one in kept if wanted(one)]
            del kept[:]
            kept.extend(chosen)
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = {name: arrays[name] for name in node.input if name and name not in constants}
        del model.graph.input[:]
        model.graph.input.extend(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        )
        alone = Graph(graph.seed, model, inputs, {name: arrays[name] for name in outputs}, graph.operators)
        if differences(alone, target):
            return alone
    return graph


def difference(result: np.ndarray, expected: np.ndarray) -> str:
    """Return how a result differs from what is expected; empty where it does not."""
    if (result.dtype, result.shape) != (expected.dtype, expected.shape):
        return f"{result.dtype}{list(result.shape)} in place of {expected.dtype}{list(expected.shape)}"
    if not np.issubdtype(expected.dtype, np.floating):
        wrong = result != expected
        return _shown(result, expected, wrong) if wrong.any() else ""
    special = ~np.isfinite(expected)
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(expected[~special]).max(initial=0.0).astype(np.float64)
        gap = np.abs(result.astype(np.float64) - expected.astype(np.float64))
        wrong = ~(gap <= TOLERANCES[str(expected.dtype)] * max(largest, 1e-3))
    same = (result == expected) | (np.isnan(result) & np.isnan(expected))
    wrong = np.where(special, ~same, wrong)
    return _shown(result, expected, wrong) if wrong.any() else ""


def _shown(result: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    at = tuple(int(index) for index in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size} differ, at {list(at)} {result[at]} in place of {expected[at]}"
