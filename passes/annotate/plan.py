"""Where quantize/dequantize pairs go: the decision of ``Annotate``, apart from carrying it out.

Forwards, each operator gets its role from the operator table and its neighbours. Backwards, from what reads
it, follows whether its result is wanted in integers:

- A *weighted* operator, or a product of two activations, is worth converting its inputs to integers for. Every other
  one is quantized where an input of it is in integers anyway (or is an input of the model), and another quantized
  operator reads its result; results that only float operators or the model's outputs read stay in float.
- A value gets a pair behind the last operator that its kernel absorbs: ``conv -> bias -> relu -> pair``.
- In ``conv -> bias -> add(residual) -> relu`` the addition is absorbed too, and the convolution gets no pair
  of its own. Where both operands are such convolutions, that is the later one.
- A *dynamic* product finds scales of rows itself, so it reads float: its input gets a row pair, and none of the others.
- Pointwise operators of one tensor, however many, are one table and get one pair, behind the last.
- What only moves values gets none; nor does a concatenation of parts of one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tvm import IRModule, relax

from ..hub.graph import activations, bindings_of, dtype_of, is_constant, layer_name, op_name, shape_of
from ..hub.operators import (
    BINARY,
    CONCAT,
    MOVE,
    OPERATORS,
    PRODUCT,
    RANGE,
    TABLE,
    WEIGHT_AXIS,
    WEIGHTED,
    is_scalar,
    kind_of,
    pointwise,
)
from ..hub.product_choices import DYNAMIC, FLOAT_PRODUCT, ProductChoice
from ..hub.recurrences import WEIGHTS, kernel_of, operands_of, recurrences
from ..hub.two_valued import binary_layers
from ..prepare.affine import CHANNEL_AXIS, as_affine, per_channel
from .options import QuantizeOptions
from .selection import Selection

ON_BITS = "its data and weights have one bit, so it runs on bits"
"""Why a layer of a binary network gets no pairs."""

_WHY_NOT_DYNAMIC = {
    WEIGHTED: "a convolution needs calibration samples, and there are none",
    PRODUCT: "a product of two activations stays float where scales are found while the model runs",
}

FUSED = "fused"
"""Role of an operator that the kernel of the one before absorbs."""


@dataclass
class Plan:
    """What was decided, by the variable that each operator's result is bound to.

    Attributes
    ----------
    roles : the kind of each operator that runs on integers, or ``FUSED``.
    reasons : why each other one stays in float.
    pairs : values that get a pair. One that is float anyway (a parameter, or a float operator's result) keeps
        its float form for its float readers.
    absorbed : the addition that absorbs each weighted operator without a pair.
    anchors : for each fused operator the operator whose kernel absorbs it.
    dynamic : weighted operators whose input gets a row pair (``passes.hub.row_pairs``).
    recurrent : calls of recurrent layers whose recurrent weights get a pair.
    recurrent_reasons : why those of each other one stay in float.
    """

    roles: dict[relax.Var, str] = field(default_factory=dict)
    reasons: dict[relax.Var, str] = field(default_factory=dict)
    pairs: set[relax.Var] = field(default_factory=set)
    absorbed: dict[relax.Var, relax.Var] = field(default_factory=dict)
    anchors: dict[relax.Var, relax.Var] = field(default_factory=dict)
    dynamic: set[relax.Var] = field(default_factory=set)
    recurrent: set[relax.Var] = field(default_factory=set)
    recurrent_reasons: dict[relax.Var, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Means:
    """What there is to quantize with.

    Attributes
    ----------
    is_dynamic : matrix products with weights are dynamic, all of them.
    has_samples : scales of tensors can be known; else nothing but dynamic products is quantized.
    has_integer_products : products of two activations gain by it.
    has_integer_recurrences : there are kernels of recurrent layers on integers.
    choices : what was found for single products, by layer.
    """

    is_dynamic: bool = False
    has_samples: bool = True
    has_integer_products: bool = True
    has_integer_recurrences: bool = True
    choices: Mapping[str, ProductChoice] = field(default_factory=dict)


def make_plan(
    mod: IRModule, selection: Selection, options: QuantizeOptions, means: Means | None = None
) -> Plan:
    """Return where the pairs go in a module that ``Prepare`` has rewritten."""
    return _Planner(mod, selection, options, means or Means()).plan()


def first_and_last(weighted: Sequence[relax.Var], options: QuantizeOptions) -> dict[relax.Var, str]:
    """Return why the first and the last of the weighted operators stay in float, where the user wants that."""
    forced = {}
    if weighted and not options.quantize_first:
        forced[weighted[0]] = "the first layer, kept in float on request"
    if weighted and not options.quantize_last:
        forced[weighted[-1]] = "the last layer, kept in float on request"
    return forced


def too_small(value: relax.Call, options: QuantizeOptions) -> str:
    """Return why a weighted operator is not worth quantizing; empty where it is."""
    return too_small_weights(shape_of(value.args[1]), WEIGHT_AXIS[op_name(value)], options)


def too_small_weights(shape: Sequence[int], axis: int, options: QuantizeOptions) -> str:
    """Return the same of weights of this shape, whose output channels are ``axis``."""
    size, channels = math.prod(shape), shape[axis]
    if size < options.min_weight_size:
        return f"its {size} weights are fewer than the smallest size, {options.min_weight_size}"
    if channels < options.min_weight_channels:
        return f"its {channels} output channels are fewer than the least, {options.min_weight_channels}"
    return ""


class _Planner:
    def __init__(self, mod: IRModule, selection: Selection, options: QuantizeOptions, means: Means):
        self.means = means
        self.bindings = bindings_of(mod)
        self.values = {binding.var: binding.value for binding in self.bindings}
        self.order = {binding.var: place for place, binding in enumerate(self.bindings)}
        self.selection = selection
        self.options = options
        self.readers: dict[relax.Var, int] = {}
        for value in [*self.values.values(), mod["main"].body.body]:
            for var in activations(value):
                self.readers[var] = self.readers.get(var, 0) + 1
        self.result = Plan()
        self.tails: dict[relax.Var, relax.Var] = {}  # anchor -> last operator that its kernel absorbs
        self.roots: dict[relax.Var, relax.Var] = {}  # pointwise value -> the one tensor that it depends on
        self.origins: dict[relax.Var, relax.Var] = {}  # what is only moved -> where it comes from
        # Values that come in integers without converting anything for them alone.
        self.live = {param for param in mod["main"].params if _is_float(param)}
        weighted = [
            var
            for var, value in self.values.items()
            if op_name(value) in CHANNEL_AXIS and not OPERATORS[op_name(value)].refuse(value)
        ]
        self.forced = first_and_last(weighted, options)
        self.on_bits = binary_layers(mod)
        self.recurrences = recurrences(mod)

    def plan(self) -> Plan:
        for binding in self.bindings:
            self._assign_role(binding.var, binding.value)
        wanted: set[relax.Var] = set()  # values that a quantized operator reads
        inner: set[relax.Var] = set()  # pointwise values inside a table
        for binding in reversed(self.bindings):
            self._follow_demand(binding.var, wanted, inner)
        self.result.pairs = {var for var in wanted if self.result.roles.get(var) != MOVE}
        return self.result

    # Forwards: roles.

    def _assign_role(self, var: relax.Var, value: relax.Expr) -> None:
        if isinstance(value, relax.TupleGetItem):
            self._assign_move(var, value)
            return
        if kernel_of(value) in self.recurrences:
            self._assign_recurrent(var, value)
            return
        reason = self._reason(var, value)
        if not reason and self._try_fuse(var, value):
            return
        if not reason:
            reason = self._reason_as_compute(var, value)
        if reason:
            self.result.reasons[var] = reason

    def _assign_recurrent(self, var: relax.Var, value: relax.Call) -> None:
        """Decide on the recurrent weights; all else of such a layer is float."""
        weights, name = operands_of(value)[WEIGHTS], layer_name(value)
        reason = self.selection.skipped.get(name, "")
        if not reason and name in self.selection.unwanted:
            reason = "not among the layers to quantize"
        if not reason and not is_constant(weights):
            reason = "its recurrent weights are not constant"
        if not reason and not self.means.has_integer_recurrences:
            reason = "the target has no kernel of recurrences on integers"
        reason = reason or too_small_weights(shape_of(weights), 1, self.options)
        if reason:
            self.result.recurrent_reasons[var] = reason
        else:
            self.result.recurrent.add(var)

    def _reason(self, var: relax.Var, value: relax.Expr) -> str:
        """Return why the operator cannot run on integers wherever it stands; empty where it can."""
        if op_name(value) not in OPERATORS:
            return f"no integer form of {_short(value)}"
        if not _is_float(var) and not isinstance(var.ty, relax.TupleType):
            return f"it works on {dtype_of(var)}"
        if var in self.on_bits:
            return ON_BITS
        return self.forced.get(var) or self.selection.skipped.get(layer_name(value), "")

    def _try_fuse(self, var: relax.Var, value: relax.Call) -> bool:
        """Let the kernel before absorb a bias, or a range behind a weighted or binary operator."""
        source = value.args[0]
        anchor = self.result.anchors.get(source, source)
        if self.tails.get(anchor) is None or not self.tails[anchor].same_as(source):
            return False
        if self.readers.get(source) != 1:
            return False
        is_range = OPERATORS[op_name(value)].kind == RANGE
        is_bias = anchor.same_as(source) and self._is_bias(value)
        if not is_range and not is_bias:
            return False
        self.result.roles[var] = FUSED
        self.result.anchors[var] = anchor
        self.tails[anchor] = var
        self.live.add(var)
        return True

    def _is_bias(self, value: relax.Call) -> bool:
        axis = CHANNEL_AXIS.get(op_name(self.values[value.args[0]]))
        affine = as_affine(value) if op_name(value) == "relax.add" and axis is not None else None
        return affine is not None and per_channel(affine.shift, shape_of(value), axis) is not None

    def _reason_as_compute(self, var: relax.Var, value: relax.Call) -> str:
        """Give the operator the role of its kind; return the reason where that fails."""
        kind = kind_of(value)
        means, choice = self.means, self.means.choices.get(layer_name(value))
        is_dynamic = kind == WEIGHTED and op_name(value) == "relax.matmul"
        is_dynamic = is_dynamic and (means.is_dynamic or (choice is not None and choice.way == DYNAMIC))
        if means.is_dynamic and not is_dynamic and (kind == PRODUCT or not means.has_samples):
            return self._why_not_dynamic(value, kind)
        if kind == WEIGHTED and choice is not None and choice.way == FLOAT_PRODUCT:
            return choice.reason
        if kind == PRODUCT and not means.has_integer_products:
            return "products of two activations are faster in float on this target"
        if kind == MOVE or (kind == CONCAT and self._is_of_one_tensor(value)):
            return self._assign_move(var, value)
        if layer_name(value) in self.selection.unwanted:
            return "not among the layers to quantize"
        root = self._root(value)
        if kind in (RANGE, TABLE) or (kind == BINARY and root is not None):
            if root is None:
                return f"{_short(value)} of more than one tensor"
            kind = TABLE
            self.roots[var] = root
        reason = "" if kind in (TABLE, PRODUCT) else OPERATORS[op_name(value)].refuse(value)
        if not reason and kind == WEIGHTED:
            reason = too_small(value, self.options)
        if (
            not reason
            and kind not in (WEIGHTED, PRODUCT)
            and not any(self._is_live(item) for item in activations(value))
        ):
            reason = "its inputs are float"
        if reason:
            self.roots.pop(var, None)
            return reason
        self.result.roles[var] = kind
        if is_dynamic:
            self.result.dynamic.add(var)
        self.live.add(var)
        if kind in (WEIGHTED, BINARY):
            self.tails[var] = var
        return ""

    def _why_not_dynamic(self, value: relax.Call, kind: str) -> str:
        """Return why an operator stays float; what ends a layer that does, such as a bias, for the layer's reason."""
        for source in activations(value):
            if source in self.result.reasons and layer_name(self.values[source]) == layer_name(value):
                return self.result.reasons[source]
        return _WHY_NOT_DYNAMIC.get(kind, "only matrix products with weights are quantized without samples")

    def _is_live(self, var: relax.Var) -> bool:
        return var in self.live

    def _assign_move(self, var: relax.Var, value: relax.Expr) -> str:
        """Give a move its role; what it moves is in integers where its input is."""
        source = activations(value)[0]
        if isinstance(value, relax.TupleGetItem):
            if self.result.roles.get(source) != MOVE:
                return ""  # an item of a float operator's results is a float value like any other
        else:
            reason = OPERATORS[op_name(value)].refuse(value)
            if reason:
                return reason
        self.result.roles[var] = MOVE
        self.origins[var] = self.origins.get(source, source)
        if source in self.live:
            self.live.add(var)
        return ""

    def _is_of_one_tensor(self, concat: relax.Call) -> bool:
        """Tell whether a concatenation puts together parts of one tensor, which have one scale."""
        return len({self.origins.get(part, part) for part in activations(concat)}) == 1

    def _root(self, value: relax.Call) -> relax.Var | None:
        """Return the one tensor of which the value is a pointwise function; None where there is none."""
        if not pointwise(value):
            return None
        tensors = [argument for argument in value.args if not is_scalar(argument)]
        roots = {self.roots.get(tensor, tensor) for tensor in tensors}
        return roots.pop() if len(roots) == 1 else None

    # Backwards: demand.

    def _follow_demand(self, var: relax.Var, wanted: set[relax.Var], inner: set[relax.Var]) -> None:
        role = self.result.roles.get(var)
        value = self.values[var]
        if role is None or role == FUSED:
            return
        tail = self.tails.get(var, var)
        if var in self.result.dynamic:
            return
        if role in (WEIGHTED, PRODUCT):
            wanted.update(activations(value))
            return
        if tail not in wanted and var not in inner:
            self._drop(var)
            return
        if role == TABLE:
            for operand in activations(value):
                root = self.roots[var]
                inside = not operand.same_as(root) and operand in self.roots
                (inner if inside else wanted).add(operand)
            return
        operands = activations(value)
        if role == BINARY:
            merged = self._absorbable(var, value)
            if merged is not None:
                self.result.absorbed[self.result.anchors.get(merged, merged)] = var
                operands = [operand for operand in operands if not operand.same_as(merged)]
        wanted.update(operands)

    def _drop(self, var: relax.Var) -> None:
        """Leave in float an operator whose result nobody wants in integers, and what it absorbs."""
        role = self.result.roles.pop(var)
        if role != MOVE or isinstance(self.values[var], relax.Call):
            self.result.reasons[var] = "only float operators and outputs read its result"
        for fused in [fused for fused, anchor in self.result.anchors.items() if anchor.same_as(var)]:
            del self.result.anchors[fused], self.result.roles[fused]
            self.result.reasons[fused] = "its input is float"

    def _absorbable(self, var: relax.Var, value: relax.Call) -> relax.Var | None:
        """Return the operand of an addition that a weighted operator alone gives, the later one of two."""
        if op_name(value) != "relax.add" or value.args[0].same_as(value.args[1]):
            return None
        found = [operand for operand in value.args if self._is_plain_weighted(operand, shape_of(var))]
        other_shapes = {shape_of(operand) for operand in value.args}
        if not found or other_shapes != {shape_of(var)}:
            return None
        return max(found, key=lambda operand: self.order[operand])

    def _is_plain_weighted(self, var: relax.Var, shape: tuple[int, ...]) -> bool:
        """Tell whether the value is a weighted operator's, with its bias at most, and has one reader."""
        anchor = self.result.anchors.get(var, var)
        if self.result.roles.get(anchor) != WEIGHTED or self.readers.get(var) != 1 or shape_of(var) != shape:
            return False
        return anchor.same_as(var) or op_name(self.values[var]) == "relax.add"


def _is_float(var: relax.Var) -> bool:
    return isinstance(var.ty, relax.TensorType) and dtype_of(var) == "float32"


def _short(value: relax.Expr) -> str:
    """Return the operator's name as users know it."""
    return op_name(value).removeprefix("relax.").removeprefix("nn.") or type(value).__name__
