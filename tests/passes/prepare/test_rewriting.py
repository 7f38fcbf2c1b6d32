"""The scope tells what a rule may fold: values with one reader, in the graph that is being built."""

from __future__ import annotations

from tvm import relax

from tvmq.passes.hub.graph import bindings_of, layer_name
from tvmq.passes.prepare.rewriting import Scope, apply_rule

from ..modules import assert_close, module, operators


def _chain(b, x):
    return b.add(relax.op.negative(b.add(relax.op.nn.relu(x), "relu")), "negative")


def test_a_replacement_takes_over_the_layer_name_and_dead_code_goes():
    mod = module({"x": (2, 3)}, _chain)

    def rule(scope: Scope, value):
        inner = scope.defined_by(value, "relax.negative")
        return None if inner is None else relax.op.abs(scope.definition(inner.args[0]).args[0])

    new = apply_rule(mod, rule)
    assert operators(new) == ["abs"]
    assert layer_name(bindings_of(new)[0].value) == "negative"


def test_uses_follow_the_graph_that_is_built():
    mod = module({"x": (2, 3)}, lambda b, x: b.add(relax.op.add(b.add(relax.op.abs(x)), x)))
    seen = {}

    def rule(scope: Scope, value):
        for argument in value.args:
            seen[scope.definition(argument).same_as(argument)] = scope.used_once(argument)

    apply_rule(mod, rule)
    assert seen == {True: False, False: True}  # x has two readers, abs one


def test_what_a_rule_emits_is_used_once():
    mod = module({"x": (2, 3)}, _chain)
    emitted = []

    def rule(scope: Scope, value):
        if scope.defined_by(value, "relax.negative") is None:
            return None
        var = scope.emit(relax.op.abs(value.args[0]), "new")
        emitted.append(scope.used_once(var))
        return relax.op.negative(var)

    new = apply_rule(mod, rule)
    assert emitted == [True]
    assert [layer_name(b.value) for b in bindings_of(new)][:3] == ["relu", "new", "negative"]


def test_nothing_applies():
    mod = module({"x": (2, 3)}, _chain)
    assert_close(mod, apply_rule(mod, lambda scope, value: None))
