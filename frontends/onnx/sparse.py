"""Sparse tensors of ONNX files as the dense ones that they stand for."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import TvmqError
from .limits import LARGEST_SPARSE
from .tensors import bits_of


def densified(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return the graph's sparse initializers as dense ones.

    Raises
    ------
    TvmqError : one whose indices do not fit its shape, or several that are too large together.
    """
    try:
        if sum(map(_bytes, graph.sparse_initializer)) > LARGEST_SPARSE:
            raise ValueError(
                f"the dense ones that they stand for are larger than {LARGEST_SPARSE} bytes together"
            )
        return [
            numpy_helper.from_array(dense_array(sparse), sparse.values.name)
            for sparse in graph.sparse_initializer
        ]
    except (ValueError, IndexError, TypeError) as error:
        raise TvmqError(f"a sparse initializer cannot be read: {error}") from error


def dense_array(sparse: onnx.SparseTensorProto) -> np.ndarray:
    """Return the tensor with zeros where no value is given.

    Indices are positions in the flattened tensor [n], or coordinates [n, rank].

    Raises
    ------
    ValueError, IndexError : indices that do not fit.
    """
    if any(extent < 0 for extent in sparse.dims) or _bytes(sparse) > LARGEST_SPARSE:
        raise ValueError(f"its shape is {list(sparse.dims)}")
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense


def _bytes(sparse: onnx.SparseTensorProto) -> int:
    return math.prod(sparse.dims) * max(8, bits_of(sparse.values.data_type)) // 8
