"""What an exported program reads and gives: the user's inputs and outputs by name, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.utils import _pytree

from ...errors import TvmqError
from ...passes.hub.layers import free_name
from .tensors import dtype_name, refuse_unfit

WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


@dataclass(frozen=True)
class Signature:
    """The ends of a program.

    Attributes
    ----------
    inputs : the node of each of the user's tensors, and its name, in the order of ``forward``'s arguments.
    outputs : the nodes that are given, with their names.
    known : of every other node that is read: its tensor or, of an argument that was fixed at export, its value.
    """

    inputs: Mapping[fx.Node, str]
    outputs: Mapping[fx.Node, str]
    known: Mapping[fx.Node, Any]


def signature_of(program: ExportedProgram, decomposed: ExportedProgram) -> Signature:
    """Return the ends of a program; nodes are those of its ``decomposed`` form.

    Raises
    ------
    TvmqError : an input that is a number, an output that is no tensor, or a model
        that changes its buffers or inputs.
    """
    nodes = {node.name: node for node in decomposed.graph.nodes if node.op == "placeholder"}
    inputs: dict[fx.Node, str] = {}
    known: dict[fx.Node, Any] = {}
    for spec in decomposed.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            if isinstance(spec.arg, ConstantArgument):
                known[node] = spec.arg.value
            elif isinstance(spec.arg, TensorArgument):
                inputs[node] = _checked_input(node)
            elif node.users:
                raise TvmqError(
                    f"input {node.name!r} is a number that stays open ({type(spec.arg).__name__}); export the model "
                    "with a fixed one"
                )
        elif spec.kind in WEIGHTS:
            if node.users:
                known[node] = _held(decomposed, spec).detach().cpu()
        elif spec.kind is not InputKind.TOKEN and node.users:
            raise TvmqError(
                f"the model has the object {spec.target!r} ({spec.kind.name}), which is no tensor"
            )
    if not inputs:
        raise TvmqError("the model has no inputs that are tensors")
    known.update(_attributes(decomposed))
    return Signature(inputs, _outputs(program, decomposed), known)


def _checked_input(node: fx.Node) -> str:
    try:
        dtype_name(node.meta["val"].dtype)
    except ValueError as error:
        raise TvmqError(f"input {node.name!r}: {error}") from error
    return node.name


def check_weights(program: ExportedProgram) -> None:
    """Raise ``TvmqError`` for a weight that is no plain tensor; torch's own words on one are about its tracer."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for spec in program.graph_signature.input_specs:
        if spec.kind in WEIGHTS and nodes[spec.arg.name].users:
            _check(spec.target, _held(program, spec))


def _held(program: ExportedProgram, spec: Any) -> torch.Tensor:
    return (program.state_dict if spec.target in program.state_dict else program.constants)[spec.target]


def _attributes(program: ExportedProgram) -> dict[fx.Node, Any]:
    """Return what ``get_attr`` nodes read."""
    found = {}
    for node in program.graph.find_nodes(op="get_attr"):
        value = program.graph_module
        for part in node.target.split("."):
            value = getattr(value, part)
        if isinstance(value, torch.Tensor):
            _check(node.target, value)
            value = value.detach().cpu()
        found[node] = value
    return found


def _check(name: str, tensor: torch.Tensor) -> None:
    try:
        refuse_unfit(tensor)
    except ValueError as error:
        raise TvmqError(
            f"the weight {name!r} cannot be imported: {error}; of quantized models those of PT2E are taken "
            "(torchao.quantization.pt2e), and weights alone are compressed by the scheme 'weight-only'"
        ) from error


def _outputs(program: ExportedProgram, decomposed: ExportedProgram) -> dict[fx.Node, str]:
    """Return the nodes that are given, by the keys of the dict or dataclass that the model returns, else by node."""
    (results,) = next(iter(decomposed.graph.find_nodes(op="output"))).args
    paths = _paths(decomposed)
    taken: set[str] = set()
    outputs: dict[fx.Node, str] = {}
    given = 0
    for result, spec, before in zip(
        results, decomposed.graph_signature.output_specs, program.graph_signature.output_specs, strict=True
    ):
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION):
            what = "buffer" if spec.kind is OutputKind.BUFFER_MUTATION else "input"
            raise TvmqError(
                f"the model changes its {what} {spec.target!r} while it runs, and packages keep no state; export it "
                "for inference: model.eval()"
            )
        if spec.kind is OutputKind.TOKEN:
            continue  # of an operator with effects, which has no converter
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise TvmqError(f"the model gives a {spec.kind.name}; only outputs of forward are supported")
        path = paths[given] if given < len(paths) else ""
        given += 1
        if isinstance(spec.arg, ConstantArgument) and spec.arg.value is None:
            continue
        if not isinstance(spec.arg, TensorArgument):
            raise TvmqError(f"output {given - 1} is no tensor but a {type(spec.arg).__name__}")
        if result in outputs:
            raise TvmqError(
                f"output {given - 1} is output {list(outputs).index(result)} again; return it once"
            )
        outputs[result] = free_name(path or before.arg.name, taken)
    if not outputs:
        raise TvmqError("the model has no outputs that are tensors")
    return outputs


def _paths(program: ExportedProgram) -> list[str]:
    """Return for each leaf of what the model returns its keys, joined by points; ``""`` below a tuple or list."""
    spec = program.call_spec.out_spec
    if spec is None:
        return []
    tree = _pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    leaves, _ = _pytree.tree_flatten_with_path(tree)
    return [_joined(path) for path, _ in leaves]


def _joined(path: tuple) -> str:
    keys = [getattr(key, "key", getattr(key, "name", None)) for key in path]
    return ".".join(keys) if all(isinstance(key, str) for key in keys) else ""
