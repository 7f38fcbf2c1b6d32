"""What a pass can require of a module, or ensure: one row each.

    CALIBRATED.broken_by(mod)   -->   "" or what of the module breaks it, such as "that of layer 'c1' is unknown"

Each looks at the module as it is, not at which passes have run, so that a module from elsewhere counts as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tvm import IRModule, relax

from .annotation import SCHEME_ATTRIBUTE, has_pairs, is_unknown
from .compressed import compressed_layers
from .graph import activations, bindings_of, is_constant, layer_name, op_name
from .operators import WEIGHT_AXIS

REALIZED_ATTRIBUTE = "tvmq.realized"
"""Module attribute: the name of the target's row for whose integers ``Realize`` has rewritten the module."""

PREPARED_ATTRIBUTE = "tvmq.prepared"
"""Module attribute: there where ``Prepare`` has rewritten the module."""

_PAIR = ("relax.quantize", "relax.dequantize")


def has_attribute(mod: IRModule, name: str) -> bool:
    """Tell whether the module has an attribute of that name."""
    return mod.attrs is not None and name in mod.attrs


@dataclass(frozen=True)
class Condition:
    """One row.

    Attributes
    ----------
    what : the module, or part of it, where it holds: completes "needs ...".
    remedy : what a script that breaks it should do.
    broken_by : what breaks it; empty where it holds.
    """

    what: str
    remedy: str
    broken_by: Callable[[IRModule], str]


def place_of(value: relax.Expr) -> str:
    """Return how a message names a bound value: by its layer, or by what it reads where it comes from none."""
    name = layer_name(value)
    if name or not activations(value):
        return f"layer {name!r}"
    return f"value {activations(value)[0].name!r}"


def _first(found: Callable[[relax.Expr], bool], says: str) -> Callable[[IRModule], str]:
    """Return a ``broken_by`` for the first bound value that is found."""

    def broken_by(mod: IRModule) -> str:
        return next(
            (says.format(place_of(binding.value)) for binding in bindings_of(mod) if found(binding.value)),
            "",
        )

    return broken_by


def _unprepared(mod: IRModule) -> str:
    if has_attribute(mod, PREPARED_ATTRIBUTE):
        return ""  # what is left then is what no rewrite was for
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    found = (value for value in values.values() if _is_unprepared(value, values))
    return next((f"{place_of(value)} is not in the form that Prepare gives it" for value in found), "")


def _is_unprepared(value: relax.Expr, values: Mapping[relax.Var, relax.Expr]) -> bool:
    if isinstance(value, relax.TupleGetItem):
        norm = values.get(value.tuple_value)
        return op_name(norm) == "relax.nn.batch_norm" and all(map(is_constant, norm.args[1:]))
    name = op_name(value)
    if name in ("relax.nn.conv1d", "relax.nn.avg_pool1d", "relax.nn.max_pool1d"):
        return True
    return bool(name) and name not in (*_PAIR, "relax.call_tir") and not activations(value)


def _awaits_layout(value: relax.Expr) -> bool:
    """Tell whether ``Layout`` would move the operator."""
    if op_name(value) == "relax.nn.conv2d":
        return (value.attrs.data_layout, value.attrs.kernel_layout) == ("NCHW", "OIHW")
    return op_name(value) in ("relax.nn.avg_pool2d", "relax.nn.max_pool2d") and value.attrs.layout == "NCHW"


def _without_pairs(mod: IRModule) -> str:
    # With the scheme of ``Annotate``, there was nothing to quantize.
    return "" if has_attribute(mod, SCHEME_ATTRIBUTE) or has_pairs(mod) else "there are none"


_Values = Mapping[relax.Var, relax.Expr]


def _reads_floats(call: relax.Call, weights: relax.Call, values: _Values) -> bool:
    """Tell whether the weights are float, with or without an offset, behind their ``quantize``."""
    quantize = values.get(weights.args[0]) if isinstance(weights.args[0], relax.Var) else None
    if op_name(quantize) != "relax.quantize" or not all(map(is_constant, quantize.args[1:])):
        return False
    data = quantize.args[0]
    offset = values.get(data) if isinstance(data, relax.Var) else None
    return is_constant(data) or (op_name(offset) == "relax.add" and all(map(is_constant, offset.args)))


def _reads_integers(call: relax.Call, weights: relax.Call, values: _Values) -> bool:
    return is_constant(weights.args[0])


def _reads_nhwc(call: relax.Call, weights: relax.Call, values: _Values) -> bool:
    return op_name(call) == "relax.nn.conv2d" and call.attrs.data_layout == "NHWC"


def _quantized(
    found: Callable[[relax.Call, relax.Call, _Values], bool], says: str
) -> Callable[[IRModule], str]:
    """Return a ``broken_by`` for the first weighted operator that, with the ``dequantize`` of its weights, is found."""

    def broken_by(mod: IRModule) -> str:
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        for call in values.values():
            if op_name(call) in WEIGHT_AXIS and isinstance(call.args[1], relax.Var):
                weights = values.get(call.args[1])
                if op_name(weights) == "relax.dequantize" and found(call, weights, values):
                    return says.format(place_of(call))
        return ""

    return broken_by


def _realized(mod: IRModule) -> str:
    return "this one is" if has_attribute(mod, REALIZED_ATTRIBUTE) else ""


def _compressed(mod: IRModule) -> str:
    return next((f"those of layer {name!r} are" for name in sorted(compressed_layers(mod))), "")


FLOAT = Condition(
    "a float model without quantize/dequantize pairs",
    "run it before Annotate",
    _first(lambda value: op_name(value) in _PAIR, "{} has one"),
)
UNQUANTIZED = replace(FLOAT, remedy="what is quantized already is compiled as it is")
PREPARED = Condition("a prepared module", "run Prepare before it", _unprepared)
UNCOMPRESSED = Condition("weights that are not compressed", "run it before CompressWeights", _compressed)
PAIRS = Condition("quantize/dequantize pairs", "run Annotate before it", _without_pairs)
CALIBRATED = Condition(
    "pairs whose scales are known",
    "run Calibrate before it",
    _first(is_unknown, "that of {} is not"),
)
ROUNDED = Condition(
    "quantize/dequantize pairs or compressed weights",
    "run Annotate or CompressWeights before it",
    lambda mod: "" if compressed_layers(mod) else _without_pairs(mod),
)
FLOAT_WEIGHTS = Condition(
    "quantized weights that are still float",
    "run it before FoldWeights",
    _quantized(_reads_integers, "those of {} are integers"),
)
INTEGER_WEIGHTS = Condition(
    "quantized weights that are integers",
    "run FoldWeights before it",
    _quantized(_reads_floats, "those of {} are float"),
)
NCHW = Condition("images in NCHW", "run it before Layout", _quantized(_reads_nhwc, "those of {} are in NHWC"))
NHWC = Condition("images in NHWC", "run Layout before it", _first(_awaits_layout, "those of {} are in NCHW"))
NOT_REALIZED = Condition("a module that is not realized as integers", "run it before Realize", _realized)

FLOAT_MODEL = (NOT_REALIZED, FLOAT, UNCOMPRESSED, PREPARED)
"""What passes before the pairs require."""
UNQUANTIZED_MODEL = (NOT_REALIZED, UNQUANTIZED, UNCOMPRESSED, PREPARED)
"""The same of a pass that makes a quantized model of it."""
FLOAT_WEIGHTS_OF_KNOWN_SCALES = (NOT_REALIZED, PAIRS, CALIBRATED, FLOAT_WEIGHTS, NCHW)
"""What passes between ``Calibrate`` and ``FoldWeights`` require that choose integers or biases."""
LEARNABLE = (NOT_REALIZED, ROUNDED, CALIBRATED, FLOAT_WEIGHTS, NCHW)
"""The same where weights may be compressed."""
