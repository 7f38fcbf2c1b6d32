"""A Q/DQ module in blocks, cut where one value alone goes on and is narrowest: residual and inverted residual blocks.

    input | conv .. | (expand -> depthwise -> project) + skip | ... | pool -> matmul

A method that goes through the network block by block keeps, for each sample, only what goes on from one block to
the next, in the float form and in the quantized form, and needs no run of the whole network for each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from tvm import IRModule, relax

from ..hub.compressed import unpacked
from ..hub.graph import activations, bindings_of, results_of, shape_of, substitute
from ..hub.pairs import activation_pairs, weight_pairs


@dataclass(frozen=True)
class Block:
    """Consecutive bindings of ``main``, as a function of what lives on from the ones before.

    Attributes
    ----------
    inputs : values that the block reads.
    results : what it computes of the model's results; other blocks than the last have such where there are several.
    onward : values that it, or one before it, gives and a later one reads.
    members : what it takes to get from its inputs to its outputs: the variables that its bindings bind.
    """

    inputs: tuple[relax.Var, ...]
    results: tuple[relax.Var, ...]
    onward: tuple[relax.Var, ...]
    members: frozenset[relax.Var]

    @property
    def outputs(self) -> tuple[relax.Var, ...]:
        """All that it is there for, what goes on last."""
        return (*(var for var in self.results if var not in self.onward), *self.onward)


def blocks_of(mod: IRModule, anywhere: bool = False) -> list[Block]:
    """Return the blocks of the module in their order, cut at values that have pairs, or ``anywhere``."""
    bindings = bindings_of(mod)
    varying = _varying(mod)
    last: dict[relax.Var, int] = {}
    whole = _whole_result(mod)
    for place, binding in enumerate(bindings):
        if binding.var not in whole:
            last.update(dict.fromkeys(activations(binding.value), place))
    order = [*mod["main"].params, *(binding.var for binding in bindings)]
    born = {var: place - len(mod["main"].params) for place, var in enumerate(order)}

    def live(place: int) -> tuple[relax.Var, ...]:
        """Return what is born at this place or before and read behind it."""
        return tuple(var for var in order if var in varying and born[var] <= place < last.get(var, -1))

    pairs = activation_pairs(mod)
    sources = {pair.source for pair in pairs} - {pair.dequantize for pair in pairs}
    narrow = [
        born[var]
        for var in dict.fromkeys(binding.var for binding in bindings)
        if (anywhere or var in sources) and live(born[var]) == (var,)
    ]
    cuts = [bindings[place].var for place in _local_minima(narrow, bindings)]
    results = [
        var
        for var in dict.fromkeys(var for result in results_of(mod) for var in activations(result))
        if var in varying and born[var] >= 0
    ]
    edges = [live(-1), *((var,) for var in cuts), ()]
    ends = [-1, *(born[var] for var in cuts), len(bindings)]
    blocks = []
    for place, (inputs, onward) in enumerate(pairwise(edges)):
        own = tuple(var for var in results if ends[place] < born[var] <= ends[place + 1])
        members = _between(mod, inputs, (*own, *onward))
        blocks.append(Block(inputs, own, onward, frozenset(members)))
    return blocks


def sections_of(
    mod: IRModule, layers: int, joins: Callable[[Block], bool], anywhere: bool = False
) -> list[Block]:
    """Return the blocks, consecutive ones joined until they have so many weighted operators with rounded weights.

    A block for which ``joins`` is false stands alone. Of those that join, the last may be too few: they go with the
    section before them, if there is one.
    """
    weights = {pair.dequantize for pair in weight_pairs(mod)} | unpacked(mod)
    sections: list[Block] = []
    for together, run in groupby(blocks_of(mod, anywhere), joins):
        found: list[Block] = []
        for block in run:
            if together and found and len(weights & found[-1].members) < layers:
                found[-1] = _joined(found[-1], block)
            else:
                found.append(block)
        if together and len(found) > 1 and len(weights & found[-1].members) < layers:
            last = found.pop()
            found[-1] = _joined(found[-1], last)
        sections.extend(found)
    return sections


def _joined(first: Block, second: Block) -> Block:
    results = (*first.results, *second.results)
    return Block(first.inputs, results, second.onward, first.members | second.members)


def cut_out(mod: IRModule, inputs: Sequence[relax.Var], outputs: Iterable[relax.Var]) -> IRModule:
    """Return the part of the module that leads from ``inputs`` to the tuple of ``outputs``, as a module.

    Its parameters are named as the inputs, so that inputs of the model keep their names.
    """
    outputs = list(outputs)
    params = {var: relax.Var(var.name, var.ty) for var in inputs}
    needed = _between(mod, inputs, outputs)
    kernels = {name: func for name, func in mod.functions.items() if name.name_hint != "main"}
    builder = relax.BlockBuilder(IRModule(kernels, attrs=mod.attrs))
    env: dict[relax.Var, relax.Expr] = dict(params)
    with builder.function("main", list(params.values())):
        with builder.dataflow():
            for binding in bindings_of(mod):
                if binding.var in needed:
                    env[binding.var] = builder.emit(substitute(binding.value, env))
            result = builder.emit_output(relax.Tuple([env[var] for var in outputs]))
        builder.emit_func_output(result)
    return builder.get()


def _between(mod: IRModule, inputs: Iterable[relax.Var], outputs: Iterable[relax.Var]) -> set[relax.Var]:
    """Return what must be computed to get from ``inputs`` to ``outputs``."""
    given, found, waiting = set(inputs), set(), list(outputs)
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    while waiting:
        var = waiting.pop()
        if var not in found and var not in given:
            found.add(var)
            waiting.extend(activations(values[var]))
    return found


def _whole_result(mod: IRModule) -> set[relax.Var]:
    """Return the names of the tuple of the model's results: binding it is no reason for a value to live on."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    found, result = set(), mod["main"].body.body
    while isinstance(values.get(result), relax.Var | relax.Tuple):
        found.add(result)
        result = values[result]
    return found


def _varying(mod: IRModule) -> set[relax.Var]:
    """Return the values that depend on the model's inputs."""
    found = set(mod["main"].params)
    for binding in bindings_of(mod):
        if any(var in found for var in activations(binding.value)):
            found.add(binding.var)
    return found


def _local_minima(places: list[int], bindings: list[relax.VarBinding]) -> list[int]:
    """Return those of the places whose value is no wider than at the place before and at the one behind."""
    sizes = [int(np.prod(shape_of(bindings[place].var))) for place in places]
    bounds = [np.inf, *sizes, np.inf]
    return [
        place
        for place, before, size, behind in zip(places, bounds, sizes, bounds[2:], strict=False)
        if size <= before and size <= behind
    ]
