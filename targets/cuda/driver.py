"""What the CUDA driver says of the GPUs that are there: ``libcuda.so.1``, which comes with the driver.

Run as a program it prints a line of capabilities, ``"80 86"``. A process that has asked the driver must not fork any
more, so one that only compiles asks by such a program.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


def capabilities() -> list[int]:
    """Return ten times the compute capability of each GPU, in the order of CUDA's numbers; none without a driver."""
    try:
        cuda = ctypes.CDLL(_LIBRARY)
        cuda.cuInit  # noqa: B018  an AttributeError where the library is another
    except (OSError, AttributeError):
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [10 * _attribute(cuda, _MAJOR, gpu) + _attribute(cuda, _MINOR, gpu) for gpu in range(count.value)]


def capabilities_by_program() -> list[int]:
    """Return ``capabilities``, found by another process."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()] if done.returncode == 0 else []


def _attribute(cuda: ctypes.CDLL, attribute: int, gpu: int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, gpu)
    return value.value


if __name__ == "__main__":
    print(*capabilities())
