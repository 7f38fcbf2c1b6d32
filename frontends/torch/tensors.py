"""Tensors of torch as constants, in the memory that they have: neither a model's weights nor their views are copied.

What TVM's kernels cannot read where it lies is copied once: what is on another device, not contiguous, or not aligned.
"""

from __future__ import annotations

import torch
import tvm
from tvm import relax
from tvm.ir import GenericConst

ALIGNED = 64
"""Bytes: TVM's own constants start at multiples of it, and kernels may count on that."""

DTYPES = {
    torch.bool: "bool",
    torch.uint8: "uint8",
    torch.uint16: "uint16",
    torch.uint32: "uint32",
    torch.uint64: "uint64",
    torch.int8: "int8",
    torch.int16: "int16",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
}
"""Torch's dtypes and TVM's."""


def dtype_name(dtype: torch.dtype) -> str:
    """Return TVM's name of a dtype; raises ``ValueError`` for one that it does not have here."""
    if dtype not in DTYPES:
        raise ValueError(f"{dtype} tensors are not supported; valid: {', '.join(DTYPES.values())}")
    return DTYPES[dtype]


def refuse_unfit(tensor: torch.Tensor) -> None:
    """Raise ``ValueError`` for a tensor that is no array of numbers."""
    kind = type(tensor)
    if kind is not torch.Tensor and kind is not torch.nn.Parameter and kind is not torch.nn.Buffer:
        raise ValueError(f"its class is {kind.__module__}.{kind.__name__}, which is no plain tensor")
    if tensor.is_quantized or tensor.layout != torch.strided:
        raise ValueError(f"it is a {tensor.dtype} tensor of layout {tensor.layout}, which is no plain array")
    if tensor.is_meta:
        raise ValueError("it has no values (device 'meta'): load the weights before exporting")
    dtype_name(tensor.dtype)


def constant_of(tensor: torch.Tensor) -> GenericConst:
    """Return a tensor on the CPU as a constant; it shares the tensor's memory where kernels can read that."""
    whole = tensor.resolve_conj().resolve_neg().contiguous()
    if whole.data_ptr() % ALIGNED:
        return relax.const(tvm.runtime.tensor(_array(whole)), dtype_name(tensor.dtype))
    return relax.const(tvm.runtime.from_dlpack(whole))


def _array(tensor: torch.Tensor):
    """Return a tensor as NumPy's array; bfloat16, which NumPy lacks, by way of its bits."""
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    import ml_dtypes

    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
