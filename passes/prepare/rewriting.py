"""Local rewrites: a rule looks at one value and what it is made of, and gives a better one or declines.

A rule sees the graph that is being built, so that what one match made, the next can use. It tells matches
by operators, attributes and constants, and by ``Scope.used_once``: a value that others read too must stay.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import IRModule, relax, te

from ..hub.graph import Constant, consumers_of, layer_name, op_name, rebuild, with_layer_name


class Scope:
    """What a rule may ask of the graph that is being rebuilt, and do to it."""

    def __init__(self, mod: IRModule):
        self._old_uses = {var: len(readers) for var, readers in consumers_of(mod).items()}
        self._uses: dict[relax.Var, int] = {
            param: self._old_uses.get(param, 0) for param in mod["main"].params
        }
        self._builder: relax.BlockBuilder | None = None

    def definition(self, expr: relax.Expr) -> relax.Expr:
        """Return the value that a variable is bound to; the expression itself where there is none."""
        if not isinstance(expr, relax.Var):
            return expr
        value = self._builder.lookup_binding(expr)
        return expr if value is None else value

    def defined_by(self, expr: relax.Expr, *ops: str) -> relax.Call | None:
        """Return the call that ``expr`` is, or is bound to, where it is one of these operators."""
        value = self.definition(expr)
        return value if op_name(value) in ops else None

    @property
    def builder(self) -> relax.BlockBuilder:
        """Binds what several values read."""
        return self._builder

    def used_once(self, expr: relax.Expr) -> bool:
        """Tell whether the value has one reader, so that it is gone where that reader no longer needs it."""
        return isinstance(expr, relax.Var) and self._uses.get(expr, 0) == 1

    def emit(self, call: relax.Expr, name: str) -> relax.Var:
        """Bind a call that belongs to the layer ``name`` and that the rule's result reads once."""
        var = self._builder.emit(with_layer_name(call, name) if isinstance(call, relax.Call) else call)
        self._uses[var] = 1
        return var

    def call_te(
        self,
        define: Callable[..., te.Tensor],
        *args: relax.Expr,
        name: str,
        pattern: int,
        layer: str,
    ) -> relax.Call:
        """Return the call of a kernel that ``define`` gives as TE, of the layer ``layer``; it is not bound yet.

        ``pattern`` is what it is fused with, one of ``hub.op_patterns``.
        """
        call = self._builder.call_te(
            define, *args, primfunc_name_hint=name, primfunc_attrs={"op_pattern": pattern}
        )
        return self._builder.normalize(with_layer_name(call, layer))

    def _bind(self, builder: relax.BlockBuilder, old: relax.Var, value: relax.Expr) -> relax.Expr:
        """Bind what became of ``old``, which takes over its readers."""
        readers = self._old_uses.get(old, 0)
        if isinstance(value, relax.Var):
            self._uses[value] = self._uses.get(value, 0) - 1 + readers
            return value
        if isinstance(value, Constant):
            return value
        var = builder.emit(value)
        self._uses[var] = readers
        return var


Rule = Callable[[Scope, relax.Expr], relax.Expr | None]
"""``(scope, call or tuple item) -> what replaces it``, or None where the rule does not apply."""


def apply_rule(mod: IRModule, rule: Rule) -> IRModule:
    """Return the module with the rule applied to each value in order, and what nobody reads any more dropped.

    A replacement without a layer's name gets the name of the value that it replaces.
    """
    scope = Scope(mod)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        scope._builder = builder
        new = None
        if isinstance(value, relax.Call | relax.TupleGetItem):
            value = builder.normalize(value)  # rules ask for shapes and dtypes
            new = rule(scope, value)
        if new is None:
            new = value
        elif isinstance(new, relax.Call) and not layer_name(new):
            new = with_layer_name(new, layer_name(value))
        return scope._bind(builder, var, new)

    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))
