"""Gradients of a Relax function, by a walk from its results back to what they depend on.

    y = f(a, b)      da += J_a^T dy,  db += J_b^T dy          by the operator's rule (``rules``)

Both directions become one function: what the way back needs of the way forth is a variable of it, so memory is planned,
and kernels are fused, as in any other. Constants get no gradient, and neither does what no wanted value leads to.

Values of all layers wait for the way back. Where they are too many, the way forth is cut into parts, and each part but
the last is computed once more when the way back comes to it: only what goes on from part to part waits (Chen et al.,
"Training deep nets with sublinear memory cost", 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tvm import relax

from ..hub.graph import activations, layer_name, op_name, shape_of, substitute
from .rules import Backward, rule_of

Give = Callable[[relax.Expr, "relax.Expr | None"], None]
"""``(value, share of its gradient) -> None``."""


@dataclass(frozen=True)
class Tape:
    """A function's bindings as they are emitted, in order, with what emits more.

    Attributes
    ----------
    builder : in the function's dataflow block.
    bindings : variables and what they are bound to, in terms of the new variables.
    env : the new variable of each old one.
    straight : values whose gradients go to another value as they are, whatever they are computed by.
    missing : operators without a gradient that the way back met, with their layers: it goes no further there.
    """

    builder: relax.BlockBuilder
    bindings: list[tuple[relax.Var, relax.Expr]]
    env: dict[relax.Var, relax.Expr]
    straight: dict[relax.Var, relax.Var] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        builder: relax.BlockBuilder,
        bindings: Sequence[relax.VarBinding],
        env: Mapping[relax.Var, relax.Expr],
    ) -> Tape:
        """Emit the bindings; ``env`` has what replaces the old function's parameters."""
        tape = cls(builder, [], dict(env))
        for binding in bindings:
            value = substitute(binding.value, tape.env)
            if not isinstance(value, relax.Call | relax.TupleGetItem | relax.Tuple):
                tape.env[binding.var] = value
                continue
            var = builder.emit(value)
            tape.env[binding.var] = var
            tape.bindings.append((var, value))
        return tape

    def gradients(
        self, seeds: Mapping[relax.Var, relax.Expr], wanted: Collection[relax.Var], parts: int = 1
    ) -> dict[relax.Var, relax.Expr]:
        """Emit the way back; return the gradient of each wanted value that the seeded ones depend on.

        Parameters
        ----------
        seeds : gradients of results, in their shapes.
        wanted : parameters, or bound variables.
        parts : that the way forth is cut into; all but the last are computed again.
        """
        moving = set(wanted)
        for var, value in self.bindings:
            if any(read in moving for read in activations(value)):
                moving.add(var)
        shares: dict[relax.Var, list[relax.Expr]] = {
            var: [seed] for var, seed in seeds.items() if var in moving
        }
        items: dict[relax.Var, dict[int, relax.Expr]] = {}
        found: dict[relax.Var, relax.Expr] = {}

        def give(var: relax.Expr, share: relax.Expr | None) -> None:
            if share is not None and isinstance(var, relax.Var) and var in moving:
                shares.setdefault(var, []).append(share)

        members, part, again = self._parts(parts), parts - 1, {}
        for place, (var, value) in reversed(list(enumerate(self.bindings))):
            if members[place] < part:
                part = members[place]
                again = self._again(members.index(part), place)
            if var in items:
                self._through(var, value, self._whole(var, items.pop(var)), moving, give, again)
                continue
            if var not in shares:
                continue
            gradient = self._total(shares.pop(var))
            if var in wanted:
                found[var] = gradient
            if var in self.straight:
                give(self.straight[var], gradient)
            elif isinstance(value, relax.TupleGetItem):
                items.setdefault(value.tuple_value, {})[value.index] = gradient
            else:
                self._through(var, value, gradient, moving, give, again)
        found.update({var: self._total(shares[var]) for var in wanted if var in shares})
        return found

    def _parts(self, count: int) -> list[int]:
        """Return the part of each binding: consecutive ones, with about as many numbers each."""
        sizes = np.cumsum([_size(var) for var, _ in self.bindings]) if self.bindings else np.zeros(1)
        return [min(count - 1, int(count * (size - 1) / sizes[-1])) if size else 0 for size in sizes.tolist()]

    def _again(self, first: int, last: int) -> dict[relax.Var, relax.Expr]:
        """Emit bindings once more, from the first to the last; return the new variables of the old ones."""
        again: dict[relax.Var, relax.Expr] = {}
        for var, value in self.bindings[first : last + 1]:
            again[var] = self.builder.emit(substitute(value, again))
        return again

    def _through(
        self,
        var: relax.Var,
        value: relax.Expr,
        gradient: relax.Expr,
        moving: Collection[relax.Var],
        give: Give,
        again: dict[relax.Var, relax.Expr],
    ) -> None:
        """Give the operands of a binding their shares; what it reads may have been computed ``again``."""
        if isinstance(value, relax.Tuple):
            for place, item in enumerate(value.fields):
                give(item, gradient.fields[place])
            return
        operands = _operands(value)
        wanted = tuple(isinstance(operand, relax.Var) and operand in moving for operand in operands)
        try:
            own = substitute(value, again)
            shares = rule_of(value)(Backward(self.builder, again.get(var, var), own, gradient, wanted))
        except NotImplementedError:
            what = op_name(value).removeprefix("relax.") or "a kernel of its own"
            self.missing.append(f"{what} of layer {layer_name(value)!r}")
            return
        for operand, share in zip(operands, shares, strict=False):
            give(operand, share)

    def _whole(self, var: relax.Var, parts: Mapping[int, relax.Expr]) -> relax.Tuple:
        """Return the gradient of a tuple: zeros for the items that have none."""
        types = var.ty.fields
        return relax.Tuple(
            [
                parts[place] if place in parts else relax.op.zeros([int(n) for n in ty.shape], str(ty.dtype))
                for place, ty in enumerate(types)
            ]
        )

    def _total(self, shares: Sequence[relax.Expr]) -> relax.Var:
        total, *others = shares
        for share in others:
            total = self.builder.emit(relax.op.add(total, share))
        return total if isinstance(total, relax.Var) else self.builder.emit(total)


def _size(var: relax.Var) -> int:
    """Return how many numbers a value has; of a tuple, none: its items are counted."""
    return math.prod(shape_of(var)) if isinstance(var.ty, relax.TensorType) else 0


def _operands(value: relax.Expr) -> list[relax.Expr]:
    """Return the tensors that a call reads: those of a tuple one by one, and of a call of a function its arguments."""
    found: list[relax.Expr] = []
    for argument in value.args:
        found.extend(argument.fields if isinstance(argument, relax.Tuple) else [argument])
    return found
