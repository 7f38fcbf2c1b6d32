"""Checking a run's inputs for a model on a GPU: those in its memory are taken as they are, others as for a CPU.

array | tensor on the GPU | {input name: either}  -->  one an input, in the model's order
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm_ffi

from ..errors import TvmqError
from .gpu import is_on_gpu
from .inputs import all_given, bind_input


def bind_gpu_inputs(tensors: Sequence[Mapping[str, Any]], inputs: Any) -> list[np.ndarray | tvm_ffi.Tensor]:
    """Return an array or a tensor on the GPU for each input, in the model's order, of its shape and dtype.

    Parameters
    ----------
    tensors, inputs : as for ``bind_inputs``; values may also be tensors on the GPU with DLPack, such as torch's.

    Raises
    ------
    TvmqError : as ``bind_inputs``; a tensor on the GPU is not contiguous, or of another dtype.
    """
    return [
        _tensor(tensor, value) if is_on_gpu(value) else bind_input(tensor, value)
        for tensor, value in zip(tensors, all_given(tensors, inputs), strict=True)
    ]


def stays_on_gpu(arrays: Sequence[Any], out: Any, device_outputs: bool | None) -> bool:
    """Tell whether outputs stay on the GPU; parameters as for ``Package.run``, ``arrays`` as bound.

    Raises
    ------
    TvmqError : they are to stay there, and to be written to ``out``.
    """
    if device_outputs and out is not None:
        raise TvmqError("out is for arrays of the host: it has no effect with device_outputs=True")
    if device_outputs is None:
        return out is None and any(not isinstance(array, np.ndarray) for array in arrays)
    return device_outputs


def _tensor(tensor: Mapping[str, Any], value: Any) -> tvm_ffi.Tensor:
    """Return the user's tensor on the GPU, or raise naming the input."""
    name, shape = tensor["name"], tuple(tensor["shape"])
    try:
        found = tvm_ffi.from_dlpack(value)
    except Exception as error:  # whatever the other library raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TvmqError(f"input {name!r} cannot be read on the GPU: {reason[0]}") from error
    if tuple(found.shape) != shape:
        raise TvmqError(f"input {name!r} has shape {list(found.shape)}; expected {list(shape)}")
    if str(found.dtype) != tensor["dtype"]:
        raise TvmqError(
            f"input {name!r} has dtype {found.dtype}; expected {tensor['dtype']}: it lies on the GPU, "
            "where nothing converts it"
        )
    if not found.is_contiguous():
        raise TvmqError(
            f"input {name!r} is not contiguous: it lies on the GPU, where nothing copies it together"
        )
    if found.device.dlpack_device_type() == 2 and found.device.index != 0:
        raise TvmqError(f"input {name!r} lies on GPU {found.device.index}; packages run on the first, GPU 0")
    return found
