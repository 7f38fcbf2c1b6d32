"""What a pass from elsewhere may break of the hub, and how it is told."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes import Annotate, Calibrate, FoldWeights, Prepare, get_scheme
from tvmq.passes.hub.graph import constant, is_constant, op_name, rebuild, to_numpy
from tvmq.passes.hub.verify import problem_of, verify

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)
LOW = dataclasses.replace(get_scheme("int8"), activation_bits=4, edge_bits=4, other_bits=4)


def _net(b, x):
    value = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1), "first", "Conv")
    value = b.add(relax.op.nn.relu(value), "relu", "Relu")
    return b.add(relax.op.nn.conv2d(value, const(4, 4, 3, 3, seed=2), padding=1), "second", "Conv")


@pytest.fixture(scope="module")
def stages():
    found = [Prepare()(module({"x": SHAPE}, _net))]
    for step in (Annotate(LOW), Calibrate([{"x": random(*SHAPE)}]), FoldWeights()):
        found.append(step(found[-1]))
    return found


def _replaced(mod, name, make):
    """Return the module with ``make(call)`` in the place of each call of an operator."""

    def rewrite(builder, var, value):
        return make(value) if op_name(value) == f"relax.{name}" else value

    return rebuild(mod, rewrite)


def _with(call, place, value):
    args = [value if at == place else argument for at, argument in enumerate(call.args)]
    return relax.Call(call.op, args, call.attrs, call.ty_args, span=call.span)


def test_all_that_our_passes_leave_is_well(stages):
    assert [problem_of(mod) for mod in stages] == [""] * len(stages)


def _negative(call):
    return _with(call, 1, constant(-np.abs(to_numpy(call.args[1]))))


def _doubled(call):
    return _with(call, 1, constant(to_numpy(call.args[1]) * np.float32(2)))


def _computed(call):
    return _with(call, 1, relax.op.ones(call.args[1].ty.shape, "float32"))


def _unclipped(call):
    return call.args[0]


def _halved(call):
    return _with(call, 0, relax.op.astype(call.args[0], "float16"))


def _nameless(call):
    return relax.Call(call.op, call.args, call.attrs, call.ty_args)


@pytest.mark.parametrize(
    ("name", "make", "problem"),
    [
        ("quantize", _negative, r"relax.quantize: its scale must be positive, got -0"),
        ("dequantize", _doubled, r"relax.dequantize: its scale and zero point must be those of the quantize"),
        ("quantize", _computed, r"relax.quantize: its scale and zero point must be constants"),
        ("clip", _unclipped, r"layer 'x', relax.quantize: of 4 bits, it must read a clip to \["),
        ("quantize", _halved, r"relax.quantize: it must read float32, got float16"),
        ("quantize", _nameless, r"relax.quantize: it has no layer's name"),
        ("nn.conv2d", _nameless, r"relax.nn.conv2d: it has no layer's name"),
    ],
)
def test_what_a_pass_breaks_is_told_with_its_name(name, make, problem, stages):
    calibrated = stages[2]
    after = _replaced(calibrated, name, make)
    with pytest.raises(TvmqError, match=rf"^mine: leaves a module that no later pass can read: .*{problem}"):
        verify("mine", calibrated, after)
    verify("mine", after, after)  # it was so before


def test_scales_that_do_not_fit_the_axis(stages):
    def short(call):
        both = [constant(to_numpy(argument)[:2]) for argument in call.args[1:]]
        return relax.Call(call.op, [call.args[0], *both], call.attrs, call.ty_args, span=call.span)

    main = stages[3]["main"]
    bindings = list(main.body.blocks[0].bindings)
    weights = next(
        place
        for place, binding in enumerate(bindings)
        if op_name(binding.value) == "relax.dequantize" and is_constant(binding.value.args[0])
    )
    bindings[weights] = relax.VarBinding(bindings[weights].var, short(bindings[weights].value))
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], main.body.body)
    broken = tvm.IRModule({}, attrs=stages[3].attrs)
    broken["main"] = relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)
    assert "it needs 4 scales and zero points along axis 0, got 2 and 2" in problem_of(broken)


def test_what_a_module_says_of_itself_must_stay(stages):
    lost = tvm.IRModule(stages[1].functions)
    with pytest.raises(TvmqError, match="^mine: .*: the module's attribute 'tvmq.layers' is lost$"):
        verify("mine", stages[1], lost)
    assert json.loads(str(stages[1].attrs["tvmq.bits"]))["default"]["activations"] == 4


def test_what_is_no_hub_at_all(stages):
    assert problem_of(tvm.IRModule({})) == "there is no Relax function 'main'"
    x = relax.Var("x", relax.TensorType(dtype="float32", ndim=2))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(relax.op.nn.relu(x)))
        builder.emit_func_output(result)
    assert "relax.nn.relu: its result has no static shape" in problem_of(builder.get())


def test_a_value_that_nothing_binds(stages):
    main = stages[0]["main"]
    block = main.body.blocks[0]
    body = relax.SeqExpr([relax.DataflowBlock(list(block.bindings)[1:])], main.body.body)
    broken = tvm.IRModule({}, attrs=stages[0].attrs)
    broken["main"] = relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)
    assert "which nothing before it binds" in problem_of(broken)
