"""The Q/DQ hub with unknown parameters --> the hub with parameters, from samples.

    dequantize(quantize(x, NaN, 0), NaN, 0)        --> dequantize(quantize(x, scale, zero), scale, zero)
    dequantize(quantize(weights, NaN, 0), NaN, 0)  --> dequantize(integer weights, scale, zero)

Every value that a pair waits for becomes an output of one float module, which runs once for each sample;
an observer for each takes the value in. So memory does not grow with the number of samples, and they may come
from a generator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ..errors import TvmqError
from .annotate import is_unknown, scheme_of
from .graph import (
    bindings_of,
    constant,
    dtype_of,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)
from .layers import get_layers, with_layers
from .observers import (
    DEFAULT_OBSERVER,
    DEFAULT_WEIGHT_OBSERVER,
    Observer,
    get_observer,
    get_weight_observer,
)
from .parameters import activation_parameters, quantize_weight, weight_parameters
from .sample_check import Sample, check_sample
from .shared_ranges import shared_groups

Run = Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]
Runner = Callable[[IRModule], Run]
"""Compiles a float module whose ``main`` returns a tuple; the result maps inputs by name to that tuple."""
Progress = Callable[[str, int | None], AbstractContextManager[Any]]
"""``(description, total) -> context of a bar with update(n)``."""


def compile_for_host(mod: IRModule) -> Run:
    """Compile a float module with TVM's default pipeline."""
    names = [param.name for param in mod["main"].params]
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [value.numpy() for value in main(*(tvm.runtime.tensor(inputs[name]) for name in names))]

    return run


@tvm.transform.module_pass(opt_level=0, name="tvmq.Calibrate")
@dataclass(frozen=True)
class Calibrate:
    """Choose every unknown scale and zero point.

    Attributes
    ----------
    samples : of each, the arrays of the model's inputs by name, in their exact shapes and dtypes.
    observer, weight_observer : keys of ``OBSERVERS`` and ``WEIGHT_OBSERVERS``; None takes the default.
    runner : compiles the float module that is observed.
    progress : shows how many samples have run; None shows nothing.
    """

    samples: Iterable[Sample]
    observer: str | None = None
    weight_observer: str | None = None
    runner: Runner = compile_for_host
    progress: Progress | None = None

    def __post_init__(self) -> None:
        get_observer(self.observer or DEFAULT_OBSERVER)
        get_weight_observer(self.weight_observer or DEFAULT_WEIGHT_OBSERVER)

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the calibrated module; one without unknown parameters as it is.

        Raises
        ------
        TvmqError : no samples, or one that does not fit the model's inputs or is not finite; a layer whose
            values are not finite.
        """
        unknowns = [binding for binding in bindings_of(mod) if is_unknown(binding.value)]
        if not unknowns:
            return mod
        waiting = [
            binding
            for binding in unknowns
            if op_name(binding.value) == "relax.quantize" and not is_constant(binding.value.args[0])
        ]
        ranges = dict(zip((binding.var for binding in waiting), self._observe(mod, waiting), strict=True))
        for group in shared_groups(mod):
            low = min(ranges[var][0] for var in group)
            high = max(ranges[var][1] for var in group)
            ranges.update(dict.fromkeys(group, (low, high)))
        return self._fill(mod, ranges)

    def _observe(self, mod: IRModule, waiting: Sequence[relax.VarBinding]) -> list[tuple[float, float]]:
        """Return the range that each waiting pair should represent."""
        scheme = scheme_of(mod)
        steps = 2 ** (scheme.activation_bits if scheme is not None else 8) - 1
        make = get_observer(self.observer or DEFAULT_OBSERVER)
        observers: list[Observer] = [make(steps) for _ in waiting]
        specs = {param.name: (shape_of(param), dtype_of(param)) for param in mod["main"].params}
        run = self.runner(observed(mod, waiting))
        total = len(self.samples) if isinstance(self.samples, Sized) else None
        bar = nullcontext() if self.progress is None else self.progress("calibrate", total)
        count = 0
        with bar as shown:
            for count, sample in enumerate(self.samples, start=1):
                check_sample(sample, count - 1, specs)
                for binding, observer, value in zip(waiting, observers, run(dict(sample)), strict=True):
                    # One pass finds NaN and infinity: both spoil a sum.
                    if not np.isfinite(value.sum(dtype=np.float64)):
                        raise TvmqError(
                            f"calibration sample {count - 1}: layer {layer_name(binding.value)!r} gives "
                            "NaN or infinity"
                        )
                    observer.update(value)
                if shown is not None:
                    shown.update(1)
        if not count:
            raise TvmqError("there are no calibration samples; at least one is needed")
        return [observer.range() for observer in observers]

    def _fill(self, mod: IRModule, ranges: Mapping[relax.Var, tuple[float, float]]) -> IRModule:
        """Put parameters for NaN, and integer constants for float weights."""
        scheme = scheme_of(mod)
        symmetric = scheme is not None and scheme.symmetric_activations
        old = {binding.var: binding.value for binding in bindings_of(mod)}
        parameters: dict[relax.Var, tuple[relax.Expr, relax.Expr]] = {}
        details: dict[str, dict[str, Any]] = {}

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if not is_unknown(value):
                return value
            if op_name(value) == "relax.dequantize":
                scale, zero = parameters[old[var].args[0]]
                new = relax.op.dequantize(value.args[0], scale, zero, value.attrs.axis, value.attrs.out_dtype)
                return _like(value, new)
            name, dtype = layer_name(value), str(value.attrs.out_dtype)
            if is_constant(value.args[0]):
                integers, scales = self._weights(value)
                parameters[var] = constant(scales), constant(np.zeros(scales.shape, dtype))
                details.setdefault(name, {}).update(
                    weight_shape=list(integers.shape),
                    weight_bytes=integers.nbytes,
                    weight_scale_min=float(scales.min()),
                    weight_scale_max=float(scales.max()),
                )
                return constant(integers)
            scale, zero_point = activation_parameters(*ranges[var], dtype, symmetric)
            parameters[var] = constant(np.array(scale)), constant(np.array(zero_point, dtype))
            details.setdefault(name, {}).update(
                output_dtype=dtype, output_scale=float(scale), output_zero_point=zero_point
            )
            new = relax.op.quantize(value.args[0], *parameters[var], value.attrs.axis, dtype)
            return _like(value, new)

        filled = rebuild(mod, rewrite)
        layers = [
            dataclasses.replace(layer, details={**layer.details, **details.get(layer.name, {})})
            for layer in get_layers(filled)
        ]
        return with_layers(filled, layers)

    def _weights(self, quantize: relax.Call) -> tuple[np.ndarray, np.ndarray]:
        """Return the int8 weights of an unknown pair, and their scales ``[C]`` or ``[1]``."""
        weight = to_numpy(quantize.args[0])
        if not np.isfinite(weight).all():
            raise TvmqError(f"the weights of layer {layer_name(quantize)!r} hold NaN or infinity")
        axis = int(quantize.attrs.axis)
        per_channel = shape_of(quantize.args[1]) == (weight.shape[axis],)
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis] if per_channel else 1, -1)
        largest = get_weight_observer(self.weight_observer or DEFAULT_WEIGHT_OBSERVER)(rows)
        scales = weight_parameters(largest)
        return quantize_weight(weight, scales, axis), scales


def _like(old: relax.Call, new: relax.Call) -> relax.Call:
    """Return the new call as one of the old one's layer."""
    return with_layer_name(new, layer_name(old))


def observed(mod: IRModule, waiting: Sequence[relax.VarBinding]) -> IRModule:
    """Return the float module whose result is a tuple of the values that pairs wait for.

    Unknown pairs do nothing in it; weights are the float ones.
    """

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        return value.args[0] if is_unknown(value) else value

    result = relax.Tuple([binding.value.args[0] for binding in waiting])
    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite, result=result))
