"""Q/DQ form --> integer operators.

    DQ(x) -> conv2d(., DQ(w)) -> add(., bias) -> relu -> Q   -->   one integer kernel

Three walks over the one block of ``main``:

1. forwards: which values *are* quantized tensors: results of dequantize, and what only moves their values
2. backwards: which values are needed, as integers or in float, and by which plan each is made
3. forwards: carry the plans out

Integers are stored in the target row's dtype, whatever the model's own: moving a tensor from int8 to uint8 moves its
zero point along. Float values of two numbers are bits where a kernel reads them as such. An operator for which no rule
has a plan stays float, and its layer record says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tvm
from tvm import relax, te

from ...errors import TvmqError
from ...targets.row import TargetRow
from ..hub import arithmetic
from ..hub.compressed import compressed_layers
from ..hub.conditions import CALIBRATED, INTEGER_WEIGHTS, NHWC, NOT_REALIZED, REALIZED_ATTRIBUTE
from ..hub.contract import module_pass
from ..hub.fixed_point import FixedPoint, fixed_points_of
from ..hub.graph import (
    bindings_of,
    constant,
    dtype_of,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    to_numpy,
    with_layer_name,
)
from ..hub.layers import Layer, get_layers, with_layers
from ..hub.op_patterns import OPAQUE
from ..hub.row_pairs import RowPair, row_pairs
from ..hub.two_valued import TwoValued, two_valued
from .compute import binary, bit_counts, elementwise
from .realizers.average import plan_average
from .realizers.binary import plan_product, plan_sum
from .realizers.binary_layers import plan_binary
from .realizers.concat import plan_concat
from .realizers.dynamic import plan_dynamic, quantize_rows
from .realizers.functions import plan_function
from .realizers.moves import move, move_inputs, moved_parameters
from .realizers.product import plan_matrix_product
from .realizers.quantized import STORED_DTYPES, Parameters, Plan, Rows, Rule
from .realizers.weighted import FIXED, OPERATORS, plan_weighted
from .realizers.weights import dequantized
from .recurrences import realize_recurrences

RULES: tuple[Rule, ...] = (
    plan_binary,
    plan_weighted,
    plan_dynamic,
    plan_matrix_product,
    plan_sum,
    plan_product,
    plan_average,
    plan_concat,
    plan_function,
)
"""Tried in this order; the first plan is taken."""

_NOBODY_READS_IT = relax.const(0.0)
"""Stands for the own form of a value of which only the integers, or nothing, is needed."""


@module_pass(requires=(NOT_REALIZED, CALIBRATED, INTEGER_WEIGHTS, NHWC))
@dataclass(frozen=True)
class Realize:
    """Rewrite a Q/DQ module to integer operators of one target.

    It ensures that no operator with a plan is computed in float.

    Attributes
    ----------
    row : the target's row, which gives the stored dtype and the weights' packing.
    """

    row: TargetRow

    def transform_module(self, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        mod = realize_recurrences(mod, self.row)
        analysis = _Analysis(mod, self.row)
        analysis.refuse_inexact()
        realized = rebuild(mod, _Carrier(analysis).rewrite)
        realized = tvm.transform.Sequential(
            [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
        )(realized)
        realized = realized.with_attr(REALIZED_ATTRIBUTE, self.row.name)
        return with_layers(realized, analysis.layers(mod))


class _Analysis:
    """The first two walks: parameters of quantized values, and how each needed value is made."""

    def __init__(self, mod: tvm.IRModule, row: TargetRow) -> None:
        self.row = row
        self.bindings = bindings_of(mod)
        self._definitions = {binding.var: binding.value for binding in self.bindings}
        self._parameters: dict[relax.Var, Parameters] = {}
        self._two_valued = two_valued(mod)
        self._row_pairs = row_pairs(mod)
        self._fixed_points = fixed_points_of(mod)
        # Where the source of a row pair is read, the first binding that is the pair's alone.
        self.row_starts = {pair.chain[-1]: var for var, pair in self._row_pairs.items()}
        self.roots: set[relax.Var] = set()  # float values of which bits are made
        self.refusals: dict[str, str] = {}
        self.plans: dict[relax.Var, Plan] = {}
        self.float_plans: dict[relax.Var, Plan] = {}
        self.as_integers: set[relax.Var] = set()  # or as bits
        self.as_is: set[relax.Var] = set()
        for binding in self.bindings:
            found = self._classify(binding.value)
            if found is not None:
                self._parameters[binding.var] = found
        self._demand_as_is(mod["main"].body.body)
        for binding in reversed(self.bindings):
            self._demand_inputs(binding)

    # What rules ask for (the protocol ``Facts``).

    def definition(self, expr: relax.Expr) -> relax.Expr:
        while isinstance(expr, relax.Var) and expr in self._definitions:
            expr = self._definitions[expr]
        return expr

    def parameters(self, expr: relax.Expr) -> Parameters | None:
        return self._parameters.get(expr) if isinstance(expr, relax.Var) else None

    def row_pair(self, expr: relax.Expr) -> RowPair | None:
        return self._row_pairs.get(expr) if isinstance(expr, relax.Var) else None

    def two_valued(self, expr: relax.Expr) -> TwoValued | None:
        return self._two_valued.get(expr) if isinstance(expr, relax.Var) else None

    def fixed_point(self, call: relax.Expr) -> FixedPoint | None:
        return self._fixed_points.get(layer_name(call))

    def refuse(self, call: relax.Expr, reason: str) -> None:
        self.refusals.setdefault(layer_name(call), reason)

    def value_of(self, var: relax.Var) -> relax.Expr:
        """Return what the module binds ``var`` to."""
        return self._definitions[var]

    # The walks.

    def _classify(self, value: relax.Expr) -> Parameters | None:
        if isinstance(value, relax.Var):
            return self.parameters(value)
        if isinstance(value, relax.TupleGetItem):
            whole = self.definition(value.tuple_value)
            return self.parameters(whole.args[0]) if op_name(whole) == "relax.split" else None
        if op_name(value) == "relax.dequantize":
            own = self.own_parameters(value)
            return (
                None
                if own is None or is_constant(value.args[0])
                else own.stored_as(self.row.activation_dtype)
            )
        return moved_parameters(self, value)

    def own_parameters(self, call: relax.Call) -> Parameters | None:
        """Return the parameters of a quantize or dequantize of one whole tensor; None for any other."""
        data, scale, zero_point = call.args
        if not all(is_constant(value) and to_numpy(value).size == 1 for value in (scale, zero_point)):
            return None
        dtype = str(call.attrs.out_dtype if op_name(call) == "relax.quantize" else data.ty.dtype)
        if dtype not in STORED_DTYPES:
            return None
        return Parameters(float(to_numpy(scale).item()), int(to_numpy(zero_point).item()), dtype)

    def _demand_as_is(self, expr: relax.Expr) -> None:
        if isinstance(expr, relax.Var):
            self.as_is.add(expr)
        elif isinstance(expr, relax.Tuple):
            for field in expr.fields:
                self._demand_as_is(field)

    def _demand_inputs(self, binding: relax.VarBinding) -> None:
        var, value = binding.var, binding.value
        if op_name(value) == "relax.quantize":
            if var in self.as_is or var in self.as_integers:
                self._demand_quantize(var, value)
            return
        if var in self.as_is and var not in self._parameters:
            plan = self._first_plan(var, None)
            if plan is not None:
                self.float_plans[var] = plan
                self.as_integers.update(plan.inputs)
            else:
                self._demand_arguments(value)
        if var in self._parameters and (var in self.as_integers or var in self.as_is):
            self._demand_moved(var, value)
        elif var in self.as_integers and var in self._row_pairs:
            self._demand_as_is(self._row_pairs[var].source)
        elif var in self.as_integers:
            self._demand_bits(var, self._two_valued[var])

    def _demand_quantize(self, var: relax.Var, call: relax.Call) -> None:
        own = self.own_parameters(call)
        if own is None:
            self._demand_arguments(call)
            return
        target = own.stored_as(self.row.activation_dtype)
        data = call.args[0]
        if self.parameters(data) == target:
            self.as_integers.add(data)
            return
        plan = self._first_plan(data, target)
        if plan is None:
            self._demand_as_is(data)
            return
        self.plans[var] = plan
        self.as_integers.update(plan.inputs)

    def _demand_bits(self, var: relax.Var, step: TwoValued) -> None:
        plan = plan_binary(self, step.root, step)
        if plan is not None:
            self.plans[var] = plan
            self.as_integers.update(plan.inputs)
            return
        self.roots.add(step.root)
        self._demand_as_is(step.root)
        if step.root.same_as(var):
            self._demand_arguments(self.value_of(var))

    def _demand_moved(self, var: relax.Var, value: relax.Expr) -> None:
        """The integers of ``var`` are needed, so those that they are made of are."""
        self.as_integers.add(var)
        if op_name(value) == "relax.dequantize":
            source = self.definition(value.args[0])
            quantized_here = op_name(source) == "relax.quantize" and self.own_parameters(source) is not None
            (self.as_integers if quantized_here else self.as_is).add(value.args[0])
        elif isinstance(value, relax.TupleGetItem):
            self.as_integers.add(self.definition(value.tuple_value).args[0])
        elif isinstance(value, relax.Var):
            self.as_integers.add(value)
        else:
            self.as_integers.update(move_inputs(value))

    def _demand_arguments(self, value: relax.Expr) -> None:
        if isinstance(value, relax.Call):
            for argument in value.args:
                self._demand_as_is(argument)
        elif isinstance(value, relax.TupleGetItem):
            self._demand_as_is(value.tuple_value)
        else:
            self._demand_as_is(value)

    def _first_plan(self, expr: relax.Expr, target: Parameters | None) -> Plan | None:
        for rule in RULES:
            plan = rule(self, expr, target)
            if plan is not None:
                return plan
        return None

    def refuse_inexact(self) -> None:
        """Raise ``TvmqError`` where a layer whose integers the model's file fixes has no plan that computes them."""
        if self._fixed_points and self.row.gpu is not None:
            raise TvmqError(
                "exact integers that a model's file fixes (--tflite-exact) have kernels for CPUs alone"
            )
        planned = {plan.layer for plan in self.plans.values() if FIXED in plan.details}
        for binding in self.bindings:
            name = layer_name(binding.value)
            if op_name(binding.value) in OPERATORS and name in self._fixed_points and name not in planned:
                why = self.refusals.get(name, "no kernel quantizes its result")
                raise TvmqError(f"layer {name!r} cannot be computed by the exact integers of its file: {why}")

    def layers(self, mod: tvm.IRModule) -> list[Layer]:
        """Return the layer records with what became of each node."""
        found = self._outcomes()
        for name in compressed_layers(mod):
            found.pop(name, None)  # what was said of it holds
        return [
            dataclasses.replace(
                layer,
                status=found[layer.name].status,
                reason=self._reason(layer, found[layer.name]),
                details={**layer.details, **found[layer.name].details},
            )
            if layer.name in found
            else layer
            for layer in get_layers(mod)
        ]

    def _reason(self, layer: Layer, outcome: Layer) -> str:
        """Return why a node stays float: what was found here, or else what earlier passes said of it."""
        if outcome.status != "float":
            return ""
        return self.refusals.get(layer.name) or layer.reason or outcome.reason

    def _outcomes(self) -> dict[str, Layer]:
        """Return what became of each node that the walks met, by its name; later lines outrank earlier ones."""
        found: dict[str, Layer] = {}
        for binding in self.bindings:
            name, kind = layer_name(binding.value), op_name(binding.value)
            if not name:
                continue
            if kind in ("relax.quantize", "relax.dequantize"):
                found.setdefault(name, Layer(name, "", "folded"))
            elif binding.var in self._parameters:
                found[name] = Layer(name, "", "int8")
            elif binding.var in self.as_is and binding.var not in self.float_plans and kind:
                own = Layer(name, "", "float", self._why_float(binding.value))
                found[name] = Layer(name, "", "int8") if _gives_integers(binding.var) else own
        for plan in (*self.plans.values(), *self.float_plans.values()):
            for name in plan.absorbed:
                found[name] = Layer(name, "", plan.status, details={"fused_into": plan.layer})
        for plan in (*self.plans.values(), *self.float_plans.values()):
            found[plan.layer] = Layer(plan.layer, "", plan.status, details=plan.details)
        return found

    def _why_float(self, call: relax.Call) -> str:
        if any(self.parameters(argument) is not None for argument in call.args):
            return f"no integer form of {op_name(call).removeprefix('relax.')} with these operands"
        return "none of its inputs is quantized"


def _folded(pair: relax.Call) -> relax.Expr | None:
    """Return weights that float operators read as the floats that they are; None where one of the operands varies."""
    if not all(is_constant(argument) for argument in pair.args):
        return None
    values, scale, zero_point = map(to_numpy, pair.args)
    return constant(dequantized(values, scale, zero_point, int(pair.attrs.axis)))


def _gives_integers(var: relax.Var) -> bool:
    """Tell whether a value is a tensor of 8-bit integers, which the model itself has and no quantization made."""
    return isinstance(var.ty, relax.TensorType) and dtype_of(var) in STORED_DTYPES


class _Carrier:
    """The third walk; also what plans use to emit (the protocol ``Emitter``).

    ``rebuild`` maps each old variable to its own form, in float; the integers that stand for it are kept here.
    """

    def __init__(self, analysis: _Analysis) -> None:
        self.analysis = analysis
        self.row = analysis.row
        self._integers: dict[relax.Var, relax.Expr] = {}
        self._rows: dict[relax.Var, Rows] = {}
        self._roots: dict[relax.Var, relax.Expr] = {}
        self._splits: dict[relax.Var, relax.Var] = {}
        self._builder: relax.BlockBuilder | None = None

    def rewrite(self, builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        self._builder = builder
        analysis = self.analysis
        old = analysis.value_of(var)
        if op_name(value) == "relax.quantize" and analysis.own_parameters(old) is not None:
            if var not in analysis.as_integers and var not in analysis.as_is:
                return _NOBODY_READS_IT
            return self._quantize(var, old, value)
        pair = analysis.row_starts.get(var)
        if pair in analysis.as_integers:
            found = analysis.row_pair(pair)
            self._rows[pair] = quantize_rows(self, found, value.args[0], layer_name(value))
        if var in analysis.as_is and op_name(value) == "relax.dequantize":
            folded = _folded(old)
            if folded is not None:
                return folded
        parameters, step = analysis.parameters(var), analysis.two_valued(var)
        if parameters is not None and var in analysis.as_integers:
            self._integers[var] = self._move(old, value, parameters)
        own = self._own_form(var, value, parameters)
        if var in analysis.roots:
            own = self._roots[var] = own if isinstance(own, relax.Var) else builder.emit(own)
        if step is not None and var in analysis.as_integers:
            self._integers[var] = self._bits(var, step, layer_name(value))
        return own

    def _own_form(self, var: relax.Var, value: relax.Expr, parameters: Parameters | None) -> relax.Expr:
        """Return a value as its readers in float, if there are such, want it."""
        analysis = self.analysis
        if var not in analysis.as_is:
            return _NOBODY_READS_IT
        if parameters is not None:
            return self._dequantize(self._integers[var], parameters, layer_name(value))
        if var in analysis.float_plans:
            return analysis.float_plans[var].build(self)
        return value

    def _bits(self, var: relax.Var, step: TwoValued, name: str) -> relax.Var:
        if var in self.analysis.plans:
            return self.analysis.plans[var].build(self)
        root = self._roots.get(step.root, step.root)
        binarize = binary.binarize if self.row.gpu is None else bit_counts.binarize
        bits = self._builder.call_te(
            partial(binarize, threshold=step.threshold),
            root,
            primfunc_name_hint="binarize",
            primfunc_attrs={"op_pattern": OPAQUE},
        )
        return self.emit(bits, name)

    # What plans ask for (the protocol ``Emitter``).

    def integers(self, expr: relax.Expr) -> relax.Expr:
        return self._integers[expr]

    def rows(self, expr: relax.Expr) -> Rows:
        return self._rows[expr]

    def call(
        self,
        define: Callable[..., te.Tensor],
        *args: relax.Expr,
        name: str,
        layer: str,
        pattern: int | None = None,
    ) -> relax.Var:
        attrs = {} if pattern is None else {"op_pattern": pattern}
        call = self._builder.call_te(define, *args, primfunc_name_hint=name, primfunc_attrs=attrs)
        return self.emit(call, layer)

    def emit(self, call: relax.Expr, layer: str) -> relax.Var:
        if op_name(call) == "relax.reshape":  # one reshape moves nothing; two would become a kernel
            inner = (
                self._builder.lookup_binding(call.args[0]) if isinstance(call.args[0], relax.Var) else None
            )
            if op_name(inner) == "relax.reshape":
                call = relax.op.reshape(inner.args[0], call.args[1])
        return self._builder.emit(with_layer_name(call, layer))

    def item(self, results: relax.Var, place: int) -> relax.Var:
        return self._builder.emit(relax.TupleGetItem(results, place))

    # One kind of binding each.

    def _quantize(self, var: relax.Var, old: relax.Call, call: relax.Call) -> relax.Expr:
        analysis = self.analysis
        own = analysis.own_parameters(old)
        target = own.stored_as(self.row.activation_dtype)
        name = layer_name(call)
        if var in analysis.plans:
            integers = analysis.plans[var].build(self)
        elif analysis.parameters(old.args[0]) == target:
            integers = self.integers(old.args[0])
        else:
            # Still an operator, so that the kernel which gives the float value may round it itself.
            scale, zero_point = (
                relax.const(target.scale, "float32"),
                relax.const(target.zero_point, target.dtype),
            )
            rounded = relax.op.quantize(call.args[0], scale, zero_point, axis=-1, out_dtype=target.dtype)
            integers = self.emit(rounded, name)
        self._integers[var] = integers
        return self._in_dtype(integers, own.dtype, name) if var in analysis.as_is else _NOBODY_READS_IT

    def _move(self, old: relax.Expr, value: relax.Expr, parameters: Parameters) -> relax.Expr:
        """Return the integers of a value that is a quantized tensor; ``value`` is ``old`` with new arguments."""
        name = layer_name(value)
        if isinstance(old, relax.Var):
            return self.integers(old)
        if isinstance(old, relax.TupleGetItem):
            return self._split_item(old, name)
        if op_name(old) == "relax.dequantize":
            if old.args[0] in self._integers:
                return self.integers(old.args[0])
            return self._in_dtype(value.args[0], parameters.dtype, name)
        inputs = [self.integers(argument) for argument in move_inputs(old)]
        return self.emit(move(value, inputs, parameters), name)

    def _split_item(self, old: relax.TupleGetItem, name: str) -> relax.Var:
        if old.tuple_value not in self._splits:
            call = self.analysis.definition(old.tuple_value)
            moved = relax.Call(call.op, [self.integers(call.args[0])], call.attrs, call.ty_args)
            self._splits[old.tuple_value] = self.emit(moved, name)
        return self._builder.emit(relax.TupleGetItem(self._splits[old.tuple_value], old.index))

    def _in_dtype(self, integers: relax.Expr, dtype: str, name: str) -> relax.Expr:
        """Return the integers moved into the range of another 8-bit dtype."""
        own = dtype_of(integers)
        if own == dtype:
            return integers
        shift = arithmetic.bounds_of(dtype)[0] - arithmetic.bounds_of(own)[0]
        return self.call(
            partial(elementwise.move_range, shift=shift, dtype=dtype), integers, name="move_range", layer=name
        )

    def _dequantize(self, integers: relax.Expr, parameters: Parameters, name: str) -> relax.Var:
        define = partial(elementwise.dequantize, scale=parameters.scale, zero_point=parameters.zero_point)
        return self.call(define, integers, name="dequantize", layer=name)
