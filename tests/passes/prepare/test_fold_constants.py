"""Constant subgraphs are evaluated, with TVM's own results; quantized weights stay."""

from __future__ import annotations

import numpy as np
from tvm import relax, topi

from tvmq.passes.hub.graph import constant, is_constant, to_numpy
from tvmq.passes.prepare.fold_constants import FoldConstants

from ..modules import assert_close, calls, const, module, operators, random


def test_transposed_weights_and_what_follows_them():
    def body(b, x):
        weight = b.add(relax.op.permute_dims(const(5, 4)))
        return b.add(relax.op.matmul(x, b.add(relax.op.multiply(weight, relax.const(2.0)))))

    mod = module({"x": (3, 4)}, body)
    new = FoldConstants()(mod)
    assert operators(new) == ["matmul"]
    np.testing.assert_array_equal(
        to_numpy(calls(new, "matmul")[0].args[1]), random(5, 4, seed=1).T * np.float32(2)
    )
    assert_close(mod, new, 4)


def test_arithmetic_on_static_shapes_keeps_64_bits():
    def body(b, x):
        shape = b.add(relax.op.shape_to_tensor(b.add(relax.op.shape_of(x))))
        return b.add(relax.op.multiply(shape, constant(np.array([1, 2**40], "int64"))))

    new = FoldConstants()(module({"x": (3, 4)}, body))
    assert operators(new) == []
    result = new["main"].body.blocks[0].bindings[-1].value
    assert is_constant(result) and to_numpy(result).tolist() == [3, 4 * 2**40]
    assert to_numpy(result).dtype == np.int64


def test_items_of_a_split_constant():
    def body(b, x):
        halves = b.add(relax.op.split(const(6, 2), 2, axis=0))
        return b.add(relax.op.add(x, b.add(relax.TupleGetItem(halves, 1))))

    mod = module({"x": (3, 2)}, body)
    new = FoldConstants()(mod)
    assert operators(new) == ["add"]
    assert_close(mod, new)


def test_quantized_weights_are_left_and_float_ones_are_quantized():
    def body(b, x):
        scale, zero = relax.const(0.5), relax.const(0, "int8")
        integers = b.add(relax.op.quantize(const(3, 2), scale, zero, out_dtype="int8"))
        return b.add(relax.op.add(x, b.add(relax.op.dequantize(integers, scale, zero))))

    mod = module({"x": (3, 2)}, body)
    new = FoldConstants()(mod)
    assert operators(new) == ["dequantize", "add"]
    expected = np.rint(random(3, 2, seed=1) / np.float32(0.5)).astype("int8")
    np.testing.assert_array_equal(to_numpy(calls(new, "dequantize")[0].args[0]), expected)


def test_unknown_parameters_are_left():
    def body(b, x):
        scale, zero = relax.const(np.float32(np.nan)), relax.const(0, "int8")
        integers = b.add(relax.op.quantize(const(3, 2), scale, zero, out_dtype="int8"))
        return b.add(relax.op.add(x, b.add(relax.op.dequantize(integers, scale, zero))))

    assert operators(FoldConstants()(module({"x": (3, 2)}, body))) == ["quantize", "dequantize", "add"]


def test_what_depends_on_an_input_is_left():
    mod = module({"x": (3, 4)}, lambda b, x: b.add(relax.op.permute_dims(x)))
    assert operators(FoldConstants()(mod)) == ["permute_dims"]


def test_an_index_out_of_range_reads_the_nearest_element():
    def body(b, x):
        taken = b.add(relax.op.take(const(3, 4), relax.const([0, 7], "int64"), axis=0))
        return b.add(relax.op.add(x, taken))

    new = FoldConstants()(module({"x": (2, 4)}, body))
    (addition,) = calls(new, "add")
    np.testing.assert_array_equal(to_numpy(addition.args[1]), random(3, 4, seed=1)[[0, 2]])


def test_constants_that_functions_of_the_module_compute():
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            two = builder.emit_te(
                topi.add, relax.const([1.0, 2.0], "float32"), relax.const([3.0, 4.0], "float32")
            )
            result = builder.emit_output(relax.op.add(x, two))
        builder.emit_func_output(result)
    (addition,) = calls(FoldConstants()(builder.get()), "add")
    assert to_numpy(addition.args[1]).tolist() == [4.0, 6.0]


def test_a_constant_without_elements():
    def body(b, x):
        empty = b.add(relax.op.mean(relax.const(np.zeros((2, 3, 0), "float32")), 1))
        return b.add(relax.op.concat([x, empty], 1))

    (joined,) = calls(FoldConstants()(module({"x": (2, 4)}, body)), "concat")
    assert to_numpy(joined.args[0].fields[1]).shape == (2, 0)


def test_kernels_of_tvm_are_compiled_without_a_word(capfd):
    """Those with a pragma around their loops, such as a scatter's, make LLVM's code generator complain."""

    def body(b, x):
        target = relax.const(np.zeros((1, 4), "int64"))
        return b.add(relax.op.add(x, b.add(relax.op.scatter_elements(const(2, 4), target, const(1, 4), 0))))

    FoldConstants()(module({"x": (2, 4)}, body))
    assert capfd.readouterr() == ("", "")
