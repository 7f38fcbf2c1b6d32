"""Gradients of whole functions are those of finite differences, operator by operator."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, main_function, results_of, shape_of
from tvmq.passes.train.gradient import Tape
from tvmq.passes.train.network import compile_in_place

from ..modules import const, module, random

ROWS, CUBE = (3, 6), (2, 3, 4)


def _two(make):
    return lambda b, x: b.add(make(x, b.add(relax.op.multiply(x, x))))


def _split(b, x):
    parts = b.add(relax.op.split(x, 2, axis=1))
    first, second = (b.add(relax.TupleGetItem(parts, place)) for place in range(2))
    return b.add(relax.op.multiply(first, b.add(relax.op.exp(second))))


def _one_of_split(b, x):
    return b.add(relax.op.tanh(b.add(relax.TupleGetItem(b.add(relax.op.split(x, 3, axis=1)), 1))))


CASES = {
    "add": (ROWS, _two(relax.op.add)),
    "add, broadcast": (ROWS, lambda b, x: b.add(relax.op.add(const(2, 3, 6), x))),
    "subtract": (ROWS, _two(relax.op.subtract)),
    "multiply": (ROWS, _two(relax.op.multiply)),
    "multiply, broadcast": ((3, 1), lambda b, x: b.add(relax.op.multiply(x, const(3, 5)))),
    "divide": (ROWS, lambda b, x: b.add(relax.op.divide(x, b.add(relax.op.exp(x))))),
    "divide, broadcast": ((1, 6), lambda b, x: b.add(relax.op.divide(const(3, 6), b.add(relax.op.exp(x))))),
    "maximum": (ROWS, lambda b, x: b.add(relax.op.maximum(x, const(3, 6)))),
    "minimum": (ROWS, lambda b, x: b.add(relax.op.minimum(const(3, 6), x))),
    "clip": (ROWS, lambda b, x: b.add(relax.op.clip(x, -0.4, 0.7))),
    "relu": (ROWS, lambda b, x: b.add(relax.op.nn.relu(x))),
    "leaky relu": (ROWS, lambda b, x: b.add(relax.op.nn.leakyrelu(x, 0.1))),
    "gelu": (ROWS, lambda b, x: b.add(relax.op.nn.gelu(x))),
    "gelu by tanh": (ROWS, lambda b, x: b.add(relax.op.nn.gelu_tanh(x))),
    "silu": (ROWS, lambda b, x: b.add(relax.op.nn.silu(x))),
    "erf": (ROWS, lambda b, x: b.add(relax.op.erf(x))),
    "sigmoid": (ROWS, lambda b, x: b.add(relax.op.sigmoid(x))),
    "rsqrt": (ROWS, lambda b, x: b.add(relax.op.rsqrt(b.add(relax.op.exp(x))))),
    "softmax": (ROWS, lambda b, x: b.add(relax.op.nn.softmax(x))),
    "sum": (CUBE, lambda b, x: b.add(relax.op.sum(x, [1]))),
    "mean": (CUBE, lambda b, x: b.add(relax.op.mean(x, [0, 2], keepdims=True))),
    "max": (CUBE, lambda b, x: b.add(relax.op.max(x, [2]))),
    "layer norm": (
        ROWS,
        lambda b, x: b.add(relax.op.nn.layer_norm(x, const(6), const(6, seed=2), axes=[-1])),
    ),
    "layer norm, its scale": (
        (6,),
        lambda b, x: b.add(relax.op.nn.layer_norm(const(3, 6), x, const(6, seed=2), axes=[-1])),
    ),
    "rms norm": (ROWS, lambda b, x: b.add(relax.op.nn.rms_norm(x, const(6), axes=[-1]))),
    "product with weights": (ROWS, lambda b, x: b.add(relax.op.matmul(x, const(6, 4)))),
    "product, its weights": ((6, 4), lambda b, x: b.add(relax.op.matmul(const(2, 3, 6), x))),
    "product of two": (
        (2, 3, 4),
        lambda b, x: b.add(relax.op.matmul(x, b.add(relax.op.permute_dims(x, [0, 2, 1])))),
    ),
    "product, broadcast": ((1, 3, 4), lambda b, x: b.add(relax.op.matmul(const(2, 5, 3), x))),
    "reshape": (CUBE, lambda b, x: b.add(relax.op.reshape(x, (6, 4)))),
    "transpose": (CUBE, lambda b, x: b.add(relax.op.permute_dims(x, [2, 0, 1]))),
    "concat": (ROWS, lambda b, x: b.add(relax.op.concat([x, const(3, 2), x], 1))),
    "split": (ROWS, _split),
    "one part of three": (ROWS, _one_of_split),
    "pad": (ROWS, lambda b, x: b.add(relax.op.nn.pad(x, [0, 1, 2, 0]))),
    "slice": (CUBE, lambda b, x: b.add(relax.op.strided_slice(x, [1, 2], [1, 0], [3, 3]))),
    "slice with a stride": ((2, 7), lambda b, x: b.add(relax.op.strided_slice(x, [1], [1], [7], [3]))),
    "slice from the end": ((2, 7), lambda b, x: b.add(relax.op.strided_slice(x, [1], [-3], [7]))),
    "where": (
        ROWS,
        lambda b, x: b.add(relax.op.where(relax.const(np.eye(3, 6) > 0), x, b.add(relax.op.exp(x)))),
    ),
    "pool": ((2, 5, 4, 3), lambda b, x: b.add(relax.op.nn.adaptive_avg_pool2d(x, (1, 1), layout="NHWC"))),
    "largest of windows": (
        (1, 4, 4, 2),
        lambda b, x: b.add(relax.op.nn.max_pool2d(x, (2, 2), (2, 2), layout="NHWC")),
    ),
    "mean of windows": (
        (1, 4, 4, 2),
        lambda b, x: b.add(relax.op.nn.avg_pool2d(x, (2, 2), (2, 2), layout="NHWC")),
    ),
}


def _with_gradient(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the function of x and dy that gives y and dx."""
    (param,), result = mod["main"].params, results_of(mod)[0]
    builder = relax.BlockBuilder()
    new = relax.Var("x", param.ty)
    seed = relax.Var("dy", relax.TensorType(shape_of(result), "float32"))
    with main_function(builder, [new, seed]):
        with builder.dataflow():
            tape = Tape.of(builder, bindings_of(mod), {param: new})
            found = tape.gradients({tape.env[result]: seed}, [new])
            output = builder.emit_output(relax.Tuple([tape.env[result], found[new]]))
        builder.emit_func_output(output)
    assert not tape.missing
    return builder.get()


@pytest.mark.parametrize("name", CASES)
def test_finite_differences(name):
    shape, body = CASES[name]
    run = compile_in_place(_with_gradient(module({"x": shape}, body)))
    x = random(*shape, seed=7)
    seed = random(*np.shape(run([x, np.zeros(_result_shape(shape, body), np.float32)])[0]), seed=8)
    gradient = run([x, seed])[1]
    direction = random(*shape, seed=9)
    step = np.float32(1e-3)
    ahead, behind = (run([x + sign * step * direction, seed])[0].astype(np.float64) for sign in (1, -1))
    expected = float(np.vdot((ahead - behind) / (2 * step), seed))
    # Differences of float32 over 0.002: 1e-7 of the values each, which is 1e-4 of the gradient.
    size = np.linalg.norm(gradient) * np.linalg.norm(direction)
    assert abs(float(np.vdot(gradient.astype(np.float64), direction)) - expected) < 2e-3 * max(1.0, size)


def _result_shape(shape, body) -> tuple[int, ...]:
    return shape_of(results_of(module({"x": shape}, body))[0])


def _gradients(mod: tvm.IRModule, wanted_index: int = 0) -> tuple[Tape, dict[relax.Var, relax.Expr]]:
    builder = relax.BlockBuilder()
    new = {param: relax.Var(param.name, param.ty) for param in mod["main"].params}
    with main_function(builder, list(new.values())):
        with builder.dataflow():
            tape = Tape.of(builder, bindings_of(mod), new)
            result = tape.env[results_of(mod)[0]]
            seed = relax.op.ones(shape_of(result), "float32")
            found = tape.gradients({result: seed}, [list(new.values())[wanted_index]])
            output = builder.emit_output(relax.Tuple([result, *found.values()]))
        builder.emit_func_output(output)
    return tape, found


def test_rounding_passes_gradients_on():
    mod = module({"x": ROWS}, lambda b, x: b.add(relax.op.round(b.add(relax.op.multiply(x, const(3, 6))))))
    run = compile_in_place(_with_gradient(mod))
    seed = random(*ROWS, seed=8)
    assert np.array_equal(run([random(*ROWS), seed])[1], seed * const(3, 6).value.numpy())


def test_an_operator_without_a_gradient_is_named_and_stops_the_way():
    mod = module(
        {"x": (1, 4, 4, 2)}, lambda b, x: b.add(relax.op.image.resize2d(x, (8, 8), layout="NHWC"), "up")
    )
    tape, found = _gradients(mod)
    assert tape.missing == ["image.resize2d of layer 'up'"]
    assert not found


def test_what_no_wanted_value_leads_to_needs_no_rule():
    def body(b, x, y):
        up = b.add(relax.op.image.resize2d(x, (8, 8), layout="NHWC"), "up")
        return b.add(relax.op.multiply(up, y))

    tape, found = _gradients(module({"x": (1, 4, 4, 2), "y": (1, 8, 8, 2)}, body), wanted_index=1)
    assert not tape.missing
    assert len(found) == 1


def test_a_gradient_goes_straight_past_what_is_said_to_be_the_same():
    mod = module({"x": ROWS}, lambda b, x: b.add(relax.op.multiply(b.add(relax.op.exp(x)), const(3, 6))))
    (param,), (inner, outer, *_) = mod["main"].params, [binding.var for binding in bindings_of(mod)]
    builder = relax.BlockBuilder()
    new, seed = relax.Var("x", param.ty), relax.Var("dy", param.ty)
    with main_function(builder, [new, seed]):
        with builder.dataflow():
            tape = Tape.of(builder, bindings_of(mod), {param: new})
            tape.straight[tape.env[inner]] = new
            found = tape.gradients({tape.env[outer]: seed}, [new])
            output = builder.emit_output(relax.Tuple([found[new]]))
        builder.emit_func_output(output)
    given = random(*ROWS, seed=8)
    (gradient,) = compile_in_place(builder.get())([random(*ROWS), given])
    assert np.array_equal(gradient, given * const(3, 6).value.numpy())
