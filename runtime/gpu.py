"""NVIDIA's GPU of this machine, by TVM's runtime for it: memory, copies, waiting, and what it can do.

Three libraries make it: the driver's ``libcuda.so.1``; CUDA's runtime, ``libcudart.so.13``, of the toolkit or of the
wheel ``nvidia-cuda-runtime``; and TVM's ``libtvm_runtime_cuda.so``, which needs both.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from ..errors import TvmqError
from ..targets.cuda.archs import capability
from ..targets.cuda.wheels import wheel_folders
from .engine import load_runtime
from .libraries import installed_folder

CUDA = 2  # kDLCUDA
_MANAGED = 13  # kDLCUDAManaged
_DRIVER, _CUDART, _TVM = "libcuda.so.1", "libcudart.so.13", "libtvm_runtime_cuda.so"
_CAPABILITY, _FREE_BYTES = 4, 15  # of TVM's DeviceAttrKind

Tensor = tvm_ffi.Tensor


@functools.cache
def load_gpu_runtime() -> None:
    """Load TVM's runtime for GPUs, behind ``engine.load_runtime``.

    Raises
    ------
    TvmqError : there is no driver, no CUDA runtime, or no GPU.
    """
    if tvm_ffi.get_global_func("device_api.cuda", allow_missing=True) is None:
        if not _loads(_DRIVER):
            raise TvmqError(
                f"there is no NVIDIA GPU here, or no driver for it ({_DRIVER}); the package needs both"
            )
        if not any(_loads(path) for path in _cudart_paths()):
            raise TvmqError(
                f"running on a GPU needs {_CUDART}: pip install nvidia-cuda-runtime, "
                'which pip install "tvmq[cuda]" does too, or install CUDA 13'
            )
        library = installed_folder("tvm") / _TVM
        if not _loads(str(library)):
            raise TvmqError(f"{library} cannot be loaded: this apache-tvm has no runtime for GPUs")
    if gpu_capability() is None:
        raise TvmqError("there is no NVIDIA GPU here that CUDA can use; CUDA_VISIBLE_DEVICES may hide it")


def require_gpu(metadata: Mapping[str, Any], source: str) -> None:
    """Raise ``TvmqError`` unless this machine has a GPU that runs the package; errors as ``load_gpu_runtime``."""
    load_runtime()
    load_gpu_runtime()
    refuse_other_gpus(metadata, source)


def gpu_capability() -> int | None:
    """Return ten times the compute capability of the first GPU; None where there is none."""
    found = _attribute(_CAPABILITY)
    return None if found is None else round(10 * float(found))


def free_bytes() -> int | None:
    """Return the memory of the GPU that nobody has; None where the runtime does not tell."""
    try:
        found = _attribute(_FREE_BYTES)
    except RuntimeError:
        return None
    return None if found is None else int(found)


def refuse_other_gpus(metadata: Mapping[str, Any], source: str) -> None:
    """Raise ``TvmqError`` where a package has no code that this machine's GPU runs.

    Code of ``sm_80`` runs on all of 8.x from 8.0 on, that of ``sm_90a`` on 9.0 alone, and PTX on all later ones.
    """
    here = gpu_capability()
    archs, ptx = metadata["gpu"]["archs"], metadata["gpu"]["ptx"]
    if here is None or (ptx and here >= ptx) or any(_runs(arch, here) for arch in archs):
        return
    later = f" and later than sm_{ptx}" if ptx else ""
    raise TvmqError(
        f"{source} has code for GPUs of {', '.join(archs)}{later}; this machine's GPU is sm_{here}: "
        f"compile it with --target 'cuda -arch=sm_{here}', or --cuda-archs"
    )


def _runs(arch: str, here: int) -> bool:
    if arch[-1].isalpha():
        return capability(arch) == here
    return capability(arch) // 10 == here // 10 and capability(arch) <= here


def is_on_gpu(value: Any) -> bool:
    """Tell whether a value is a tensor in the memory of a GPU."""
    device = getattr(value, "__dlpack_device__", None)
    return device is not None and not isinstance(value, np.ndarray) and int(device()[0]) in (CUDA, _MANAGED)


def empty(shape: Sequence[int], dtype: Any) -> Tensor:
    """Return a new tensor on the GPU."""
    allocate = tvm_ffi.get_global_func("runtime.TVMTensorAllocWithScope")
    return allocate(tvm_ffi.Shape(tuple(shape)), tvm_ffi.dtype(str(dtype)), device(), None)


def copy(source: Tensor, destination: Tensor) -> None:
    """Copy between tensors of one shape and dtype, of which one at least is on the GPU, in the order of the stream."""
    tvm_ffi.get_global_func("runtime.TVMTensorCopyFromTo")(source, destination)
    if stream():  # the copy is the default stream's work
        _sync(0)


def wait() -> None:
    """Wait until the GPU has done everything of the current stream."""
    _sync(stream())


def stream() -> int:
    """Return the stream that kernels run in: CUDA's default one, or what ``tvm_ffi.use_torch_stream`` says."""
    return int(tvm_ffi.get_raw_stream(device()) or 0)


@functools.cache
def device() -> tvm_ffi.Device:
    """Return the first GPU."""
    return tvm_ffi.device("cuda", 0)


def _sync(which: int) -> None:
    tvm_ffi.get_global_func("runtime.Device_StreamSync")(device(), which)


def _attribute(kind: int) -> Any:
    return tvm_ffi.get_global_func("runtime.GetDeviceAttr")(CUDA, 0, kind) if _exists() else None


def _exists() -> bool:
    return bool(tvm_ffi.get_global_func("runtime.GetDeviceAttr")(CUDA, 0, 0))


def _cudart_paths() -> Iterator[str]:
    yield _CUDART
    for folder in wheel_folders():
        yield from map(str, folder.glob(f"c*/lib/{_CUDART}"))
    yield from map(str, Path("/usr/local").glob(f"cuda*/lib64/{_CUDART}"))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
