"""Models in other floats than float32: computed in it, with the inputs and outputs that they had."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, dtype_of, layer_name, op_name, results_of
from tvmq.passes.prepare.in_float32 import InFloat32

from ..modules import calls, module, operators, random, run

SHAPE = (1, 4, 6, 6)


def _const(*shape, dtype="float16", seed=1):
    return relax.const(random(*shape, seed=seed).astype(dtype), dtype)


def _conv(b, x, dtype="float16"):
    return b.add(relax.op.nn.conv2d(x, _const(4, 4, 1, 1, dtype=dtype)), "conv")


def _dtypes(mod):
    return {dtype_of(b.var) for b in bindings_of(mod) if isinstance(b.var.ty, relax.TensorType)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_all_between_the_edges_is_float32(dtype):
    def body(b, x):
        y = b.add(relax.op.add(_conv(b, x, dtype), _const(1, 4, 1, 1, dtype=dtype)), "bias")
        return b.add(relax.op.nn.relu(y), "relu")

    mod = module({"x": SHAPE}, body, dtype)
    new = InFloat32()(mod)
    assert operators(new) == ["astype", "conv2d", "add", "relu", "astype"]
    assert [dtype_of(b.var) for b in bindings_of(new)][:4] == ["float32"] * 4
    assert dtype_of(new["main"].params[0]) == dtype_of(results_of(new)[0]) == dtype
    if dtype != "bfloat16":  # of which TVM's own convolution sums up in bfloat16
        np.testing.assert_allclose(run(new)[0], run(mod)[0], rtol=2e-2, atol=2e-2)


def test_casts_between_the_types_go():
    def body(b, x):
        wide = b.add(relax.op.astype(_conv(b, x), "float32"), "up")
        return b.add(relax.op.astype(b.add(relax.op.exp(wide), "exp"), "float16"), "down")

    new = InFloat32()(module({"x": SHAPE}, body, "float16"))
    assert operators(new) == ["astype", "conv2d", "exp", "astype"]
    assert [layer_name(b.value) for b in bindings_of(new) if op_name(b.value)] == ["", "conv", "exp", ""]


def test_integers_and_comparisons_stay():
    def body(b, x):
        y = _conv(b, x)
        positive = b.add(relax.op.greater(y, _const(1)), "greater")
        count = b.add(
            relax.op.astype(b.add(relax.op.where(positive, y, _const(1)), "where"), "int32"), "count"
        )
        return relax.Tuple([positive, count, x, _const(2)])

    mod = module({"x": SHAPE}, body, "float16")
    new = InFloat32()(mod)
    kinds = ["bool", "int32", "float16", "float16"]
    assert [dtype_of(result) for result in results_of(new)] == kinds
    assert [str(array.dtype) for array in run(new)] == kinds
    assert _dtypes(new) <= {"float32", "bool", "int32"}


def test_an_operator_with_a_type_of_its_own_keeps_it():
    def body(b, x):
        y = _conv(b, x)
        ones = b.add(relax.op.ones_like(y, "float16"), "ones")
        first = b.add(relax.op.add(y, ones), "sum")
        halves = b.add(relax.op.split(first, 2, axis=1), "split")
        parts = [b.add(relax.TupleGetItem(halves, place)) for place in (1, 0)]
        return b.add(relax.op.concat(relax.Tuple(parts), axis=1), "concat")

    mod = module({"x": SHAPE}, body, "float16")
    new = InFloat32()(mod)
    assert len(calls(new, "ones_like")) == 1 and dtype_of(calls(new, "ones_like")[0].args[0]) == "float16"
    assert all(dtype_of(call.args[0]) == "float32" for call in calls(new, "split"))
    np.testing.assert_allclose(run(new)[0], run(mod)[0], rtol=2e-2, atol=2e-2)


def test_a_kernel_of_the_module_s_own_keeps_its_type():
    def body(b, x):
        y = _conv(b, x)
        doubled = b._builder.emit_te(lambda data: te_double(data), y)
        return b.add(relax.op.nn.relu(doubled), "relu")

    from tvm import te

    def te_double(data):
        return te.compute(data.shape, lambda *places: data(*places) + data(*places), name="double")

    mod = module({"x": SHAPE}, body, "float16")
    new = InFloat32()(mod)
    assert dtype_of(calls(new, "nn.relu")[0].args[0]) == "float32"
    np.testing.assert_allclose(run(new)[0], run(mod)[0], rtol=2e-2, atol=2e-2)


def test_a_float32_model_is_left_alone_with_its_float64_indices():
    def body(b, x):
        index = b.add(relax.op.astype(x, "float64"), "wide")
        return relax.Tuple([index, _conv(b, x, "float32")])

    mod = module({"x": SHAPE}, body)
    assert InFloat32()(mod).same_as(mod)
    plain = module({"x": SHAPE}, lambda b, x: b.add(relax.op.nn.relu(x)), "float16")
    assert InFloat32()(plain).same_as(plain)  # nothing to quantize


def test_pairs_are_converted_with_their_scales():
    scale, zero = relax.const(np.float16(0.05), "float16"), relax.const(np.int8(0), "int8")

    def body(b, x):
        integers = b.add(relax.op.quantize(x, scale, zero, out_dtype="int8"), "q")
        return _conv(b, b.add(relax.op.dequantize(integers, scale, zero, out_dtype="float16"), "dq"))

    new = InFloat32()(module({"x": SHAPE}, body, "float16"))
    (pair,) = calls(new, "dequantize")
    assert dtype_of(pair.args[1]) == dtype_of(calls(new, "quantize")[0].args[1]) == "float32"
    assert _dtypes(new) == {"float32", "int8", "float16"}  # the last for the result
