"""What compiling a model adds to its report: what each layer became in the end, its size and its time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import TvmqError
from ..passes.calibrate.sample_check import Sample
from ..runtime.gpu import require_gpu
from ..runtime.metadata import is_for_gpu, refuse_other_machines
from ..runtime.package import Package
from ..runtime.recorder import KernelTime
from .advice import with_advice
from .records import LayerRecord
from .report import Report

RUNS = 10
"""Of the model, over which times are averaged."""


def with_package(report: Report, package: Package, sample: Sample) -> Report:
    """Return the report with the layers as they were compiled, and their times where this machine can run them.

    Parameters
    ----------
    sample : what the package runs on while it is timed.
    """
    final = {layer["name"]: layer for layer in package.metadata["layers"]}
    layers = [
        _as_compiled(layer, final[layer.layer]) if layer.layer in final else layer for layer in report.layers
    ]
    if runs_here(package):
        layers = with_times(layers, package.profile(sample, RUNS))
    return with_advice(dataclasses.replace(report, layers=layers))


def _as_compiled(layer: LayerRecord, final: Mapping[str, Any]) -> LayerRecord:
    return dataclasses.replace(
        layer,
        status=final["status"],
        reason=final["reason"],
        weight_bytes=final["details"].get("weight_bytes", layer.weight_bytes),
    )


def with_times(layers: Sequence[LayerRecord], times: Sequence[KernelTime]) -> list[LayerRecord]:
    """Return the layers with the time of the kernel calls that compute them.

    A call that computes several layers counts for the one that the others are fused into.
    """
    hosts = {layer.layer: layer.fused_into for layer in layers}
    seconds: dict[str, float] = {}
    for call in times:
        if call.layers:
            own = [name for name in call.layers if hosts.get(name) not in call.layers]
            name = (own or call.layers)[0]
            seconds[name] = seconds.get(name, 0.0) + call.seconds
    return [
        dataclasses.replace(layer, milliseconds=seconds[layer.layer] * 1e3)
        if layer.layer in seconds
        else layer
        for layer in layers
    ]


def runs_here(package: Package) -> bool:
    """Tell whether this machine can run the package."""
    try:
        refuse_other_machines(package.metadata, "the package")
        if is_for_gpu(package.metadata):
            require_gpu(package.metadata, "the package")
    except TvmqError:
        return False
    return True
