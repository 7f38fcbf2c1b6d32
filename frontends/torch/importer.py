"""One exported program at one size: torch's graph node by node to a Relax module.

A node that reads no input of the model is computed by torch itself, so shapes, masks, tables of positions and weights
that were stored in float before their quantization are constants here. The others have converters (``converters``);
what they give is compared with the shape and dtype that torch says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
import tvm
from torch import fx
from torch.utils import _pytree
from tvm import relax

from ...errors import TvmqError
from ...passes.hub.graph import OUTPUTS, dtype_of, main_function, shape_of
from ...passes.hub.layers import with_layers
from ...passes.hub.tvm_messages import plain as plain_message
from ..spans import with_spans
from .converters.table import CONVERTERS, NOT_COMPUTED, NOTHING
from .names import Names
from .scope import Scope
from .signature import Signature
from .tensors import dtype_name

RANDOM = (torch.Tag.nondeterministic_seeded,)

INTERNAL = (AttributeError, IndexError, KeyError, NameError, AssertionError)
"""What means nothing to a user: converters raise it where they did not expect what they met."""


class Importer:
    """One import.

    Parameters
    ----------
    signature : what the program reads and gives.
    graph : its nodes, decomposed.
    names : how layers are called.
    shapes : the static shape of each input.
    """

    def __init__(
        self, signature: Signature, graph: fx.Graph, names: Names, shapes: Mapping[str, tuple[int, ...]]
    ):
        self._signature = signature
        self._graph = graph
        self._names = names
        self._shapes = shapes
        self._builder = relax.BlockBuilder()
        self._scope = Scope(self._builder)
        self._values: dict[fx.Node, Any] = {}
        self._layer_of: dict[relax.Var, str] = {}

    def import_graph(self) -> tvm.IRModule:
        """Return the module; its calls carry the layers' names, and it has a record of each layer.

        Raises
        ------
        TvmqError : operators without a converter, or a node whose conversion failed.
        """
        params = self._params()
        self._refuse_unknown()
        attrs = {OUTPUTS: json.dumps(list(self._signature.outputs.values()))}
        with main_function(self._builder, params, attrs):
            with self._builder.dataflow():
                for node in self._graph.nodes:
                    if node.op == "call_function":
                        self._convert(node)
                outputs = [self._scope.tensor(self._values[node]) for node in self._signature.outputs]
                result = self._builder.emit_output(outputs[0] if len(outputs) == 1 else relax.Tuple(outputs))
            self._builder.emit_func_output(result)
        mod = with_layers(with_spans(self._builder.get(), self._layer_of), self._names.layers)
        return relax.transform.DeadCodeElimination()(mod)

    def _params(self) -> list[relax.Var]:
        params = []
        for node, name in self._signature.inputs.items():
            dtype = dtype_name(node.meta["val"].dtype)
            param = relax.Var(name, relax.TensorType(self._shapes[name], dtype))
            self._values[node] = param
            params.append(param)
        self._values.update(self._signature.known)
        return params

    def _refuse_unknown(self) -> None:
        """Raise ``TvmqError`` that names all operators that cannot be imported."""
        reached = set(self._signature.inputs)
        missing: dict[str, list[str]] = {}
        for node in self._graph.nodes:
            if node.op != "call_function" or not any(each in reached for each in node.all_input_nodes):
                continue
            name = str(node.target)
            is_operator = isinstance(node.target, torch._ops.OpOverload | torch._ops.HigherOrderOperator)
            if is_operator and name not in CONVERTERS and name not in NOTHING:
                missing.setdefault(name, []).append(self._names.of(node))
            elif not isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool | int):
                reached.add(node)  # others are of shapes, which are known
        if missing:
            listed = "; ".join(f"{op} ({', '.join(nodes)})" for op, nodes in sorted(missing.items()))
            raise TvmqError(f"the model has operators that cannot be imported: {listed}")

    def _convert(self, node: fx.Node) -> None:
        layer = self._names.of(node)
        try:
            value = self._value_of(node)
        except TvmqError:
            raise
        # Converters raise what ONNX's do, and torch what it likes.
        except Exception as error:
            why = "it is not supported in this form" if isinstance(error, INTERNAL) else plain_message(error)
            raise TvmqError(
                f"layer {layer!r} ({node.target}) cannot be imported: {why}{self._inputs_of(node)}"
            ) from error
        self._values[node] = value
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, relax.Var):
                # A node that passes its input through must not take over its name.
                self._layer_of.setdefault(each, layer)

    def _value_of(self, node: fx.Node) -> Any:
        args, kwargs = (
            fx.node.map_arg(given, self._values.__getitem__) for given in (node.args, node.kwargs)
        )
        name = str(node.target)
        if name in NOTHING:
            return None
        is_computed = any(isinstance(leaf, relax.Expr) for leaf in _pytree.tree_leaves((args, kwargs)))
        if not isinstance(node.target, torch._ops.OpOverload):
            return node.target(*args, **kwargs)  # Python's own: an item of a tuple, arithmetic on extents
        if not is_computed and name not in NOT_COMPUTED:
            return _computed(node.target, args, kwargs)
        self._scope.node = node
        value = CONVERTERS[name](self._scope, *self._bound(node.target, args, kwargs))
        return self._checked(node, value)

    def _bound(self, target: torch._ops.OpOverload, args: tuple, kwargs: Mapping[str, Any]) -> list[Any]:
        """Return the arguments in the order of the operator's schema, tensors as expressions."""
        bound = []
        for at, argument in enumerate(target._schema.arguments):
            value = args[at] if at < len(args) else kwargs.get(argument.name, argument.default_value)
            if isinstance(value, list | tuple):
                value = [self._scope.tensor(item) for item in value]
            bound.append(self._scope.tensor(value))
        return bound

    def _checked(self, node: fx.Node, value: Any) -> Any:
        """Return what a converter gave, bound, in the dtype that torch says; raise ``ValueError`` for other shapes."""
        expected = node.meta.get("val")
        if isinstance(value, tuple | list):
            pairs = zip(value, expected, strict=False)
            return tuple(None if one is None else self._bind(one, its) for one, its in pairs)
        return self._bind(value, expected) if isinstance(value, relax.Expr) else value

    def _bind(self, value: relax.Expr, expected: Any) -> relax.Expr:
        value = self._scope.emit(self._builder.normalize(value))
        shape = shape_of(value)
        if all(isinstance(extent, int) for extent in expected.shape) and shape != tuple(expected.shape):
            raise ValueError(f"it gives the shape {list(shape)}, and torch {list(expected.shape)}")
        return self._scope.cast(value, dtype_name(expected.dtype))

    def _inputs_of(self, node: fx.Node) -> str:
        """Return what the node reads, as the end of a message."""
        shown = []
        for each in node.all_input_nodes:
            value = self._values.get(each)
            if isinstance(value, relax.Expr) and isinstance(value.ty, relax.TensorType):
                shown.append(f"{each.name!r} {dtype_of(value)}[{','.join(map(str, shape_of(value)))}]")
            elif isinstance(value, torch.Tensor):
                shown.append(f"{each.name!r} {dtype_name(value.dtype)}[{','.join(map(str, value.shape))}]")
        return f"; its inputs are {', '.join(shown)}" if shown else ""


def _computed(target: torch._ops.OpOverload, args: tuple, kwargs: Mapping[str, Any]) -> Any:
    """Return what torch computes of what is known."""
    if any(tag in target.tags for tag in RANDOM):
        raise ValueError("it gives random numbers; export the model for inference: model.eval()")
    kwargs = {
        key: torch.device("cpu") if isinstance(given, torch.device) else given
        for key, given in kwargs.items()
    }
    args = tuple(torch.device("cpu") if isinstance(given, torch.device) else given for given in args)
    with torch.no_grad():
        return target(*args, **kwargs)
