"""What ``mod.json`` says of a module that is about to be compiled.

Unlike the rest of this folder it needs TVM's compiler, which is at work anyway when a package is made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ..passes.hub.graph import output_names
from ..passes.hub.layers import Layer, get_layers
from ..passes.hub.open_dims import greatest_shape, ranges_of
from ..schedules.stored_weights import inputs_of
from ..targets import host
from ..targets.features import arch_of, features_of
from .metadata import ALIGNMENT, FORMAT


def describe(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    scheme: str,
    layers: Sequence[Layer] | None = None,
    kernels: Iterable[tuple[str, Sequence[str]]] = (),
    activation_bytes: int = 0,
    alignment: int = ALIGNMENT,
    ranges: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """Return the metadata of the package that ``mod`` will be; see ``docs/package-format.md``.

    Parameters
    ----------
    mod : the final Relax module: ``main`` with its shapes, and the constants that the package will hold.
    target : what it is compiled for.
    scheme : name of the quantization scheme, or ``"float"``.
    layers : what was decided for each of the user's nodes; None takes the module's own records.
    kernels : for each kernel call in order, the kernel's name and the names of the nodes that it computes.
    activation_bytes : memory planned for values between kernels.
    alignment : what addresses of inputs are to be multiples of, in bytes.
    ranges : the least and the greatest value of inputs that are indices, by name.
    """
    arch = arch_of(target)
    return {
        "format": FORMAT,
        "versions": {"tvmq": version("tvmq"), "tvm": version("apache-tvm")},
        "target": target_attributes(target),
        "arch": arch,
        "cpu_features": host.required_features(arch, features_of(target)),
        "scheme": scheme,
        "alignment": alignment,
        "inputs": [_input(mod, param, ranges or {}) for param in inputs_of(mod)],
        "outputs": _outputs(mod),
        "layers": [dataclasses.asdict(layer) for layer in (get_layers(mod) if layers is None else layers)],
        "kernels": [{"name": name, "layers": list(names)} for name, names in kernels],
        "bytes": {"weights": weight_bytes(mod), "activations": activation_bytes},
        **_dimensions(mod),
    }


def target_attributes(target: tvm.target.Target) -> dict[str, Any]:
    """Return the target as the dict that ``tvm.target.Target`` makes it from, without what TVM derives."""
    return _named(json.loads(str(target)))


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _named(value) if isinstance(value, dict) else value
        for key, value in attributes.items()
        if value != "" and not key.startswith("feature.")
    }


def weight_bytes(mod: tvm.IRModule) -> int:
    """Return the size of the constants in the module's Relax functions, in bytes.

    Equal ones count once, because a package holds them once.
    """
    sizes: dict[Any, int] = {}

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, tvm.ir.GenericConst):
            array = np.ascontiguousarray(expr.value.numpy())
            sizes[str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).digest()] = array.nbytes

    for function in mod.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return sum(sizes.values())


def _dimensions(mod: tvm.IRModule) -> dict[str, Any]:
    """Return the ranges of open dimensions; nothing of a static module."""
    ranges = ranges_of(mod)
    return {"dimensions": {name: [one.low, one.high] for name, one in ranges.items()}} if ranges else {}


def _tensor(mod: tvm.IRModule, name: str, ty: relax.TensorType) -> dict[str, Any]:
    """Return the record of one input or output, with its greatest shape."""
    axes = {
        str(axis): str(extent)
        for axis, extent in enumerate(ty.shape)
        if not isinstance(extent, tvm.tirx.IntImm)
    }
    shape = [int(extent) for extent in ty.shape] if not axes else greatest_shape(mod, ty)
    return {"name": name, "shape": shape, "dtype": str(ty.dtype), **({"open": axes} if axes else {})}


def _input(mod: tvm.IRModule, param: relax.Var, ranges: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Return the record of an input, with the values that it may have where they are limited."""
    record = _tensor(mod, param.name, param.ty)
    return {**record, "range": list(ranges[param.name])} if param.name in ranges else record


def _outputs(mod: tvm.IRModule) -> list[dict[str, Any]]:
    """Return the records of the outputs."""
    result = mod["main"].ret_ty
    types = list(result.fields) if isinstance(result, relax.TupleType) else [result]
    return [_tensor(mod, name, ty) for name, ty in zip(output_names(mod), types, strict=True)]
