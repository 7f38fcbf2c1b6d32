"""A compiled module as text, for whoever wants to read its code.

    relax   the graph, before its operators become kernels
    tir     the kernels, scheduled and lowered
    ll      their LLVM code; for a GPU, that of the functions that launch them
    asm     the assembly of that
    cuda    their source, for a GPU

All of it is for reading: nothing is made from it.
"""

from __future__ import annotations

from collections.abc import Iterable

import tvm
from tvm.ir.instrument import pass_instrument
from tvm.target import Target

from ..errors import TvmqError
from ..targets.features import is_gpu
from .cuda.device_code import DeviceCode

_LOWERED = "tirx.SplitHostDevice"
"""The pass before which a kernel is lowered as far as it can be read."""


@pass_instrument
class LoweredKernels:
    """Keeps the text of the kernels as they are before ``_LOWERED``; the last module that is built counts."""

    def __init__(self) -> None:
        self.text = ""

    def run_before_pass(self, mod: tvm.IRModule, info: tvm.transform.PassInfo) -> None:
        if info.name == _LOWERED:
            self.text = mod.script()


def check_formats(formats: Iterable[str], target: Target) -> None:
    """Raise ``TvmqError`` where there is no such text of what is made for the target."""
    if "cuda" in formats and not is_gpu(target):
        raise TvmqError("code as cuda (dump_code) is of a GPU's kernels, and the target is a CPU")


def sources_of(
    formats: Iterable[str],
    graph: tvm.IRModule,
    code: Iterable[tvm.runtime.Module],
    lowered: LoweredKernels | None = None,
    device_code: Iterable[DeviceCode] = (),
) -> dict[str, str]:
    """Return the text in each of the formats.

    Parameters
    ----------
    graph : the module that was built.
    code : what was made of it.
    lowered : the instrument that was there while it was made; only ``"tir"`` needs it.
    device_code : of a GPU's kernels.
    """

    def text(name: str) -> str:
        if name == "relax":
            return graph.script()
        if name == "tir":
            return lowered.text
        if name == "cuda":
            return "\n".join(part.source for part in device_code)
        return "\n".join(str(module.inspect_source(name)) for module in code)

    return {name: text(name) for name in formats}
