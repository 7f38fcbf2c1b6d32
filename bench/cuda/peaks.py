"""What a GPU could do: products a cycle of each capability, and what the driver says of this chip."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass

from ...runtime import gpu
from .clock import cudart

INT8_MACS = {
    61: 512,
    70: 256,
    75: 1024,
    80: 2048,
    86: 1024,
    87: 2048,
    89: 1024,
    90: 4096,
    100: 8192,
    120: 1024,
}
"""Products of int8 a multiprocessor has a cycle, dense: the TOPS of NVIDIA's white papers, by clocks and
multiprocessors; below 7.5 those of ``dp4a``. That of 9.0 takes ``wgmma``: ``mma.sync`` reaches some 62 % of it."""
FLOAT_MACS = {61: 128, 70: 64, 75: 64, 80: 64, 86: 128, 87: 128, 89: 128, 90: 128, 100: 128, 120: 128}
"""Multiply-adds of float32."""

_MULTIPROCESSORS, _CLOCK = 16, 13  # of cudaDeviceAttr


@dataclass(frozen=True)
class Chip:
    """The GPU.

    Attributes
    ----------
    capability : ten times the compute capability.
    multiprocessors, hertz : how many, and their highest clock; 0 where the runtime does not tell.
    """

    capability: int
    multiprocessors: int
    hertz: float

    @property
    def int8_peak(self) -> float:
        """Products of int8 a second."""
        return self._peak(INT8_MACS)

    @property
    def float_peak(self) -> float:
        """Multiply-adds of float32 a second."""
        return self._peak(FLOAT_MACS)

    def _peak(self, macs: dict[int, int]) -> float:
        known = [each for each in macs if each <= self.capability]
        return macs[max(known)] * self.multiprocessors * self.hertz if known else 0.0


def chip() -> Chip:
    """Return the first GPU, whose runtime is loaded."""
    try:
        runtime = cudart()
        values = []
        for kind in (_MULTIPROCESSORS, _CLOCK):
            value = ctypes.c_int()
            code = runtime.cudaDeviceGetAttribute(ctypes.byref(value), kind, 0)
            values.append(0 if code else value.value)
    except (OSError, AttributeError):
        values = [0, 0]
    hertz = nvidia_smi("clocks.max.sm")
    clock = float(hertz) * 1e6 if hertz.replace(".", "").isdigit() else values[1] * 1e3
    return Chip(gpu.gpu_capability() or 0, values[0], clock)


def nvidia_smi(field: str) -> str:
    """Return a field of the first GPU, or nothing where there is no such program or field."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, f"--query-gpu={field}", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
