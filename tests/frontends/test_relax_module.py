"""Relax modules of the user's own: names are given where there are none, unfit ones are refused."""

from __future__ import annotations

import json

import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from tvmq.errors import TvmqError
from tvmq.frontends.relax_module import adopt
from tvmq.passes.hub.graph import (
    OUTPUTS,
    bindings_of,
    layer_name,
    op_name,
    results_of,
    shape_of,
    with_layer_name,
)
from tvmq.passes.hub.layers import Layer, get_layers, with_layers


def _module(names=("", "", ""), shape=(2, 3), several=False):
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for name, make in zip(names, (relax.op.nn.relu, relax.op.exp, relax.op.nn.relu), strict=True):
                call = make(value)
                value = builder.emit(with_layer_name(call, name) if name else call)
            output = builder.emit_output(relax.Tuple([value, x]) if several else value)
        builder.emit_func_output(output)
    return builder.get()


def _names(mod):
    return [layer_name(binding.value) for binding in bindings_of(mod) if op_name(binding.value)]


def test_operators_are_named_after_themselves():
    mod = adopt(_module())
    assert _names(mod) == ["relu", "exp", "relu_2"]
    assert get_layers(mod) == [Layer("relu", "relu"), Layer("exp", "exp"), Layer("relu_2", "relu")]


def test_spans_are_kept():
    assert _names(adopt(_module(("relu", "", "")))) == ["relu", "exp", "relu_2"]
    assert _names(adopt(_module(("a", "a", "b")))) == ["a", "a", "b"]


def test_records_are_kept():
    mod = with_layers(_module(("a", "b", "c")), [Layer("a", "Mine")])
    assert get_layers(adopt(mod)) == [Layer("a", "Mine")]


@pytest.mark.parametrize(("several", "names"), [(False, ["output"]), (True, ["output0", "output1"])])
def test_outputs_are_named(several, names):
    mod = _module(several=several)
    assert json.loads(adopt(mod)["main"].attrs[OUTPUTS]) == names
    assert OUTPUTS not in (mod["main"].attrs or {})  # the user's own module is as it was


def test_no_main():
    mod = tvm.IRModule({"other": _module()["main"]})
    with pytest.raises(TvmqError, match="the Relax module has no function 'main'"):
        adopt(mod)


def test_shapes_that_are_not_static():
    with pytest.raises(TvmqError, match="shapes must be static, and 'x' in the Relax module has"):
        adopt(_module(shape=(tvm.tirx.Var("n", "int64"), 3)))


def test_control_flow():
    @I.ir_module
    class Branches:
        @R.function
        def main(x: R.Tensor((2,), "float32"), flag: R.Tensor((), "bool")) -> R.Tensor((2,), "float32"):
            if flag:  # noqa: SIM108 (TVMScript)
                y = R.exp(x)
            else:
                y = R.abs(x)
            return y

    with pytest.raises(TvmqError, match="control flow"):
        adopt(Branches)


def test_items_of_a_tuple_that_an_operator_gives_are_outputs():
    def halves(builder, x):
        return relax.op.split(x, 2, axis=1)

    mod = adopt(_returning(halves))
    assert json.loads(mod["main"].attrs[OUTPUTS]) == ["output0", "output1"]
    assert [shape_of(result) for result in results_of(mod)] == [(2, 2), (2, 2)]


def test_a_tuple_within_a_tuple_is_refused():
    with pytest.raises(TvmqError, match="main must return a tensor, or a tuple of tensors"):
        adopt(_returning(lambda builder, x: relax.Tuple([x, relax.Tuple([x, x])])))


def _returning(result):
    x = relax.Var("x", relax.TensorType((2, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(result(builder, x))
        builder.emit_func_output(output)
    return builder.get()
