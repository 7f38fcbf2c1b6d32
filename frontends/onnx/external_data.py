"""Weights in files beside the model: read from its own folder and nowhere else, and never more than a tensor has.

    w: dims [2, 3], float32, location "m.data", offset 64  -->  the 24 bytes from 64 on of "m.data" as ``raw_data``

A model comes from anywhere, and what it names as its weights would end in the package. So the file must be a regular
one that lies in the model's folder, links followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto

from ...errors import TvmqError
from .graph import subgraphs
from .tensors import stored_bytes

COPIES = 2
"""Of the weights, that an import has at once: as the file's, and as constants."""


def load_external_data(proto: onnx.ModelProto, path: Path) -> None:
    """Load, in place, the tensors that are stored outside of the model's file.

    Parameters
    ----------
    path : the model's file.

    Raises
    ------
    TvmqError : a file that is missing, no regular one, or not in the model's folder; offsets and lengths that do not
        fit it or the tensor; weights that are larger than this machine's memory.
    """
    tensors = [tensor for tensor in tensors_of(proto) if tensor.data_location == TensorProto.EXTERNAL]
    if not tensors:
        return
    sizes = [_size(tensor, path) for tensor in tensors]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if COPIES * sum(sizes) > memory:
        raise TvmqError(
            f"ONNX file {str(path)!r} has {sum(sizes) / 2**30:.1f} GiB of external data, and its import takes "
            f"{COPIES} times as much memory: this machine has {memory / 2**30:.1f} GiB"
        )
    folder = os.path.realpath(path.parent)
    for tensor, size in zip(tensors, sizes, strict=True):
        try:
            tensor.raw_data = _read(tensor, folder, size)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise TvmqError(
                f"ONNX file {str(path)!r}: external data of tensor {tensor.name!r} cannot be read: {why}"
            ) from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def tensors_of(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that is part of the model, in subgraphs and functions too."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for graph in subgraphs(node):
            yield from _of_graph(graph)


def _size(tensor: TensorProto, path: Path) -> int:
    """Return the bytes that the tensor's shape and dtype ask for."""
    if any(extent < 0 for extent in tensor.dims):
        raise TvmqError(
            f"tensor {tensor.name!r} of the model cannot be read: an extent of {list(tensor.dims)} is negative"
        )
    try:
        return stored_bytes(tensor)
    except ValueError as error:
        raise TvmqError(
            f"ONNX file {str(path)!r}: external data of tensor {tensor.name!r} cannot be read: {error}"
        ) from None


def _read(tensor: TensorProto, folder: str, size: int) -> bytes:
    """Return the tensor's bytes; raises ``ValueError`` and ``OSError`` with what is at fault."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    offset, length = (_number(entries, key, default) for key, default in (("offset", 0), ("length", size)))
    if length != size:
        raise ValueError(f"its shape {list(tensor.dims)} takes {size} bytes, and {length} are stored")
    file = os.path.realpath(os.path.join(folder, location))
    if os.path.isabs(location) or os.path.commonpath([folder, file]) != folder:
        raise ValueError(f"{location!r} leads out of the model's folder: copy that file beside the model's")
    # What a link led to has been resolved: a link that stands there now was put there since.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        opened = os.open(file, flags)
    except OSError as error:
        raise ValueError(f"file {location!r}: {error.strerror}") from error
    with open(opened, "rb") as stream:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{location!r} is no regular file")
        if offset + size > status.st_size:
            raise ValueError(
                f"{location!r} has {status.st_size} bytes, and {size} from offset {offset} on are asked for"
            )
        stream.seek(offset)
        data = stream.read(size)
    if len(data) != size:
        raise ValueError(f"{location!r} is cut short")
    return data


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError(f"its {key} is {text[:30]!r}, and a number of bytes was expected")
    return int(text)
