"""``mod.json``: what a package says of itself. Its fields are documented in ``docs/package-format.md``.

It travels as a plain dict of JSON values, so that a reader in any language sees what Python sees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import TvmqError
from ..targets import host

FORMAT = 2
ALIGNMENT = 64
"""What addresses of inputs are to be multiples of where a package does not say: those of version 0.1."""

# Each field that a reader may count on, with its JSON type.
_FIELDS: dict[str, type] = {
    "format": int,
    "versions": dict,
    "target": dict,
    "arch": str,
    "cpu_features": list,
    "scheme": str,
    "inputs": list,
    "outputs": list,
    "layers": list,
    "kernels": list,
    "bytes": dict,
}

_TENSOR: dict[str, type] = {"name": str, "shape": list, "dtype": str}

# Each field that is a list of records, with the fields of one and their types.
_RECORDS: dict[str, dict[str, type]] = {
    "inputs": _TENSOR,
    "outputs": _TENSOR,
    "layers": {"name": str, "op": str, "status": str, "reason": str, "details": dict},
    "kernels": {"name": str, "layers": list},
}


def encode(metadata: Mapping[str, Any]) -> bytes:
    """Return the metadata as the bytes of ``mod.json``; the same metadata always gives the same bytes."""
    return (json.dumps(dict(metadata), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode(data: bytes, source: str) -> dict[str, Any]:
    """Return the metadata that ``encode`` wrote.

    Parameters
    ----------
    data : the content of ``mod.json``.
    source : the package's name, for messages.

    Raises
    ------
    TvmqError : not JSON, written by a newer tvmq or by TVM's old ``tvmc``, or a field is missing or of the wrong type.
    """
    try:
        metadata = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise TvmqError(f"{source}: mod.json is not JSON (it is no UTF-8 text)") from error
    except (ValueError, RecursionError) as error:  # the latter for lists in lists, thousands deep
        raise TvmqError(f"{source}: mod.json is not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise TvmqError(f"{source}: mod.json must hold an object")
    if {"arg_nodes", "node_row_ptr"} <= metadata.keys():
        raise TvmqError(
            f"{source} is a package of TVM's graph executor, which TVM 0.27 lacks: compile the model again"
        )
    version = metadata.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise TvmqError(
            f"{source} has package format {version}; this tvmq reads up to {FORMAT}: install a newer one"
        )
    check(metadata, source)
    return metadata


def check(metadata: Mapping[str, Any], source: str) -> None:
    """Raise ``TvmqError`` naming the first field that is missing or has the wrong type."""
    for field, kind in _FIELDS.items():
        if field not in metadata:
            raise TvmqError(f"{source}: mod.json lacks the field {field!r}")
        if not isinstance(metadata[field], kind):
            found = type(metadata[field]).__name__
            raise TvmqError(
                f"{source}: mod.json's field {field!r} must be of type {kind.__name__}, not {found}"
            )
    if "gpu" in metadata:
        _check_gpu(metadata["gpu"], source)
    for field, record in _RECORDS.items():
        for entry in metadata[field]:
            _check_record(entry, record, field, source)
    for tensor in [*metadata["inputs"], *metadata["outputs"]]:
        if not _is_tensor(tensor):
            raise TvmqError(
                f"{source}: {tensor['name']!r} in mod.json has no shape and dtype that an array can have"
            )
    for tensor in metadata["inputs"]:
        limits = tensor.get("range", [0, 0])
        if not isinstance(limits, list) or [type(limit) for limit in limits] != [int, int]:
            raise TvmqError(f"{source}: {tensor['name']!r} in mod.json has a range that is no two numbers")
    if not all(isinstance(size, int) for size in metadata["bytes"].values()):
        raise TvmqError(f"{source}: mod.json's field 'bytes' must hold numbers")


def cpu_target(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of the CPU that a package is for: of a GPU's, the host's."""
    target = metadata["target"]
    return target["host"] if isinstance(target.get("host"), dict) else target


def cpu_triple(metadata: Mapping[str, Any]) -> str:
    """Return the triple of the CPU that a package is for; the architecture alone where its target names none."""
    return str(cpu_target(metadata).get("mtriple", metadata["arch"]))


def is_for_gpu(metadata: Mapping[str, Any]) -> bool:
    """Tell whether a package's kernels run on a GPU."""
    return "gpu" in metadata


def _check_gpu(gpu: Any, source: str) -> None:
    """Raise ``TvmqError`` unless the field ``gpu`` is as ``docs/package-format.md`` has it."""
    fits = isinstance(gpu, dict) and isinstance(gpu.get("archs"), list) and isinstance(gpu.get("ptx"), int)
    if not fits or not all(isinstance(arch, str) for arch in gpu["archs"]):
        raise TvmqError(
            f"{source}: mod.json's field 'gpu' must have archs, a list of names, and ptx, a number"
        )


def _check_record(entry: Any, record: Mapping[str, type], field: str, source: str) -> None:
    """Raise ``TvmqError`` unless the entry has the record's fields, each of its type."""
    fits = isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in record.items())
    if not fits:
        raise TvmqError(
            f"{source}: each of mod.json's {field} must have {', '.join(record)}, of the right type"
        )


def _is_tensor(tensor: Mapping[str, Any]) -> bool:
    try:
        np.dtype(tensor["dtype"])
    except TypeError:
        return False
    return all(isinstance(extent, int) and extent >= 0 for extent in tensor["shape"])


def refuse_other_machines(metadata: Mapping[str, Any], source: str) -> None:
    """Raise ``TvmqError`` naming both machines where the package cannot run on this one."""
    arch = metadata["arch"]
    here = host.architecture()
    if arch != here:
        raise TvmqError(f"{source} is compiled for {arch}; this machine is {here}")
    missing = host.missing_features(arch, metadata["cpu_features"])
    if missing:
        cpu = cpu_target(metadata).get("mcpu", arch)
        raise TvmqError(f"{source} is compiled for {cpu}; this machine's CPU lacks {', '.join(missing)}")
