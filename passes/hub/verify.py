"""Whether a module is still what ``docs/architecture.md`` says of the hub, as it must be behind any pass.

    problem_of(mod)   -->   "" or "layer 'c1', relax.quantize: its scale must be ..., got ..."

Looked at where a pass of the user's own has run: the passes here read a module by these rules, and where one is broken
they would compute something else than the module does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from .annotation import SCHEME_ATTRIBUTE
from .bits import ATTRIBUTE as BITS_ATTRIBUTE
from .conditions import PREPARED_ATTRIBUTE, REALIZED_ATTRIBUTE, has_attribute, place_of
from .graph import activations, bindings_of, dtype_of, is_constant, layer_name, op_name, shape_of, to_numpy
from .layers import ATTRIBUTE as LAYERS_ATTRIBUTE
from .limits import limits_of
from .operators import MOVE, OPERATORS, WEIGHT_AXIS
from .pairs import activation_pairs
from .parameters import MAX_BITS

ATTRIBUTES = (LAYERS_ATTRIBUTE, SCHEME_ATTRIBUTE, BITS_ATTRIBUTE, PREPARED_ATTRIBUTE, REALIZED_ATTRIBUTE)
"""What a module says of itself besides its operators: it must go with it through every pass."""


def verify(name: str, before: IRModule, after: IRModule) -> None:
    """Raise ``TvmqError`` where what the pass of that name returned is no hub module, or lost what it was given.

    A module that was none before is not looked at: the pass is not at fault.
    """
    lost = [item for item in ATTRIBUTES if has_attribute(before, item) and not has_attribute(after, item)]
    problem = f"the module's attribute {lost[0]!r} is lost" if lost else problem_of(after)
    if problem and not problem_of(before):
        raise TvmqError(f"{name}: leaves a module that no later pass can read: {problem}")


def problem_of(mod: IRModule) -> str:
    """Return what is wrong with the module, and at which operator; empty where nothing is."""
    return next(_problems(mod), "")


def _problems(mod: IRModule) -> Iterator[str]:
    main = next((func for var, func in mod.functions.items() if var.name_hint == "main"), None)
    if not isinstance(main, relax.Function):
        yield "there is no Relax function 'main'"
        return
    try:
        bindings = bindings_of(mod)
    except TvmqError as error:
        yield str(error)
        return
    known = set(main.params)
    values: dict[relax.Var, relax.Expr] = {}
    for binding in bindings:
        for problem in _problems_of(binding, known, values):
            yield f"{place_of(binding.value)}, {op_name(binding.value) or 'no operator'}: {problem}"
        known.add(binding.var)
        values[binding.var] = binding.value
    if not known.issuperset(activations(main.body.body)):
        yield "the result of 'main' is a value that nothing before it binds"
    for pair in activation_pairs(mod):
        if pair.bits < MAX_BITS and not pair.is_unknown:
            clip = values.get(values[pair.quantize].args[0])
            if clip is None or limits_of(clip) is None or not np.allclose(limits_of(clip), pair.range):
                low, high = pair.range
                yield (
                    f"layer {pair.name!r}, relax.quantize: of {pair.bits} bits, it must read a clip to "
                    f"[{low:g}, {high:g}]"
                )


def _problems_of(
    binding: relax.VarBinding, known: set[relax.Var], values: dict[relax.Var, relax.Expr]
) -> Iterator[str]:
    value, kind = binding.value, binding.var.ty
    unbound = [var for var in activations(value) if var not in known]
    if unbound:
        yield f"it reads {unbound[0].name!r}, which nothing before it binds"
    if isinstance(kind, relax.TensorType) and not _is_static(kind):
        yield f"its result has no static shape: {kind}"
    name = op_name(value)
    if not layer_name(value) and _belongs_to_a_layer(value, values):
        yield "it has no layer's name (hub.graph.with_layer_name gives it one)"
    if name in ("relax.quantize", "relax.dequantize") and not unbound:
        yield from _pair_problems(value, values)


def _belongs_to_a_layer(value: relax.Expr, values: dict[relax.Var, relax.Expr]) -> bool:
    """Tell whether bits are looked up by the layer's name: of weights, and of what is no model's input."""
    if op_name(value) in WEIGHT_AXIS:
        return True
    if op_name(value) != "relax.quantize":
        return False
    data = value.args[0]
    source = values.get(data) if isinstance(data, relax.Var) else None
    row = OPERATORS.get(op_name(source))
    moved = row is not None and row.kind == MOVE
    return is_constant(data) or (source is not None and bool(layer_name(source)) and not moved)


def _is_static(kind: relax.TensorType) -> bool:
    return kind.shape is not None and all(isinstance(extent, tvm.tirx.IntImm) for extent in kind.shape)


def _pair_problems(value: relax.Call, values: dict[relax.Var, relax.Expr]) -> Iterator[str]:
    """Give what is wrong with one half of a pair."""
    data, scale, zero_point = value.args
    if not is_constant(scale) or not is_constant(zero_point):
        yield "its scale and zero point must be constants"
        return
    scales, zero_points = to_numpy(scale), to_numpy(zero_point)
    known = scales[~np.isnan(scales)]
    wrong = known[~((known > 0.0) & np.isfinite(known))]
    if wrong.size:
        yield f"its scale must be positive, got {wrong[0]:g}"
    count = 1 if scales.size == 1 else shape_of(data)[int(value.attrs.axis)]
    if scales.size != count or zero_points.size not in (1, scales.size):
        yield (
            f"it needs {count} scales and zero points along axis {int(value.attrs.axis)}, got {scales.size} and "
            f"{zero_points.size}"
        )
    if op_name(value) == "relax.quantize":
        if dtype_of(data) != "float32":
            yield f"it must read float32, got {dtype_of(data)}"
        return
    quantize = values.get(data) if isinstance(data, relax.Var) else None
    if op_name(quantize) == "relax.quantize" and not _same(value, quantize):
        yield "its scale and zero point must be those of the quantize that it reads"


def _same(dequantize: relax.Call, quantize: relax.Call) -> bool:
    return all(
        is_constant(theirs) and np.array_equal(to_numpy(own), to_numpy(theirs), equal_nan=True)
        for own, theirs in zip(dequantize.args[1:], quantize.args[1:], strict=True)
    )
