"""What each converter makes, and that it computes what ONNX's reference evaluator does."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tvm import relax

from tvmq.frontends.onnx.converters.table import can_convert
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, op_name, shape_of

from ....onnx_node.path import compile_and_run

DTYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}


def make(node, inputs, constants=None, opset=17):
    values = [
        helper.make_tensor_value_info(name, DTYPES[str(x.dtype)], x.shape) for name, x in inputs.items()
    ]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "graph", values, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def operators(mod):
    return [op_name(b.value).split(".")[-1] for b in bindings_of(mod) if op_name(b.value)]


def compare(proto, inputs, *, exact=False):
    """Run the module and ONNX's evaluator; return the module."""
    mod = load_onnx(proto)
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]
    result = main(*(tvm.runtime.tensor(value) for value in inputs.values())).numpy()
    expected = ReferenceEvaluator(proto).run(None, inputs)[0]
    assert result.dtype == expected.dtype and result.shape == expected.shape
    # Sums of at most 36 products of order 1, in another order.
    np.testing.assert_allclose(result, expected, atol=0 if exact else 36 * 2.0**-24 * 10)
    return mod


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def integers(dtype, *shape, seed=0):
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0.0, 6.0), ["clip"]),
        ((-0.5, None), ["maximum"]),
        ((None, 0.5), ["minimum"]),
        ((np.nan, 0.5), ["minimum"]),
        ((1.0, -1.0), ["clip"]),  # the upper bound wins
        ((None, None), []),
    ],
)
def test_clip(bounds, expected):
    constants = {n: np.float32(v) for n, v in zip(("low", "high"), bounds, strict=True) if v is not None}
    names = [name if name in constants else "" for name in ("low", "high")]
    inputs = {"x": floats(3, 4)}
    proto = make(helper.make_node("Clip", ["x", *names], ["y"]), inputs, constants)
    if np.nan in bounds:  # ONNX's evaluator lets NaN through; its specification takes it for no bound
        assert operators(load_onnx(proto)) == expected
        return
    assert operators(compare(proto, inputs, exact=True)) == expected


def test_clip_with_attributes():
    inputs = {"x": floats(3, 4)}
    proto = make(helper.make_node("Clip", ["x"], ["y"], min=-0.5, max=0.25), inputs, opset=6)
    assert operators(compare(proto, inputs, exact=True)) == ["clip"]


@pytest.mark.parametrize("auto_pad", ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("strides", "kernel"), [((1, 1), (3, 3)), ((2, 3), (2, 4)), ((3, 2), (1, 2))])
def test_conv_pads_are_explicit(auto_pad, strides, kernel):
    inputs = {"x": floats(1, 4, 7, 8)}
    constants = {"w": floats(6, 2, *kernel, seed=1), "b": floats(6, seed=2)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], auto_pad=auto_pad, strides=strides, group=2)
    mod = compare(make(node, inputs, constants), inputs)
    assert operators(mod) == ["conv2d", "add"]
    assert shape_of(bindings_of(mod)[1].value.args[1]) == (1, 6, 1, 1)


def test_conv_same_with_dilation():
    inputs = {"x": floats(1, 2, 7, 8)}
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", dilations=[2, 1])
    mod = load_onnx(make(node, inputs, {"w": floats(3, 2, 3, 3)}))
    assert shape_of(bindings_of(mod)[0].value) == (1, 3, 7, 8)
    assert tuple(bindings_of(mod)[0].value.attrs.padding) == (2, 1, 2, 1)


def test_conv_with_a_computed_bias():
    inputs = {"x": floats(1, 4, 5, 5), "b": floats(6, seed=3)}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"])
    compare(make(node, inputs, {"w": floats(6, 4, 3, 3, seed=1)}), inputs)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(mode):
    inputs = {"x": floats(2, 3, 4)}
    constants = {"pads": np.array([0, 1, 2, 0, 0, 1], "int64"), "value": np.float32(0.5)}
    node = helper.make_node("Pad", ["x", "pads", "value"], ["y"], mode=mode)
    assert operators(compare(make(node, inputs, constants), inputs, exact=True)) == ["pad"]


@pytest.mark.parametrize("pads", [(3, 1, 1, 3, 1, 1), (0, 5, 0, 0, 0, 0), (-1, 0, 2, 0, -1, 0)])
def test_pad_that_wraps(pads):
    """Also of more than the extent, and beside an axis that is cut."""
    x = np.arange(10.0, dtype="float32").reshape(5, 2, 1)
    proto = make(
        helper.make_node("Pad", ["x", "pads"], ["y"], mode="wrap"), {"x": x}, {"pads": np.array(pads)}, 19
    )
    taken = [
        np.arange(-before, extent + after) % extent
        for extent, before, after in zip(x.shape, pads[:3], pads[3:], strict=True)
    ]
    np.testing.assert_array_equal(compile_and_run(proto, {"x": x})[0], x[np.ix_(*taken)])


def test_pad_that_crops():
    inputs = {"x": floats(2, 5)}
    constants = {"pads": np.array([0, -1, 0, -2], "int64")}
    proto = make(helper.make_node("Pad", ["x", "pads"], ["y"]), inputs, constants)
    assert "pad" not in operators(load_onnx(proto))


def test_dropout_is_nothing():
    inputs = {"x": floats(2, 3)}
    assert operators(load_onnx(make(helper.make_node("Dropout", ["x"], ["y"]), inputs))) == []
    both = load_onnx(make(helper.make_node("Dropout", ["x"], ["y", "mask"]), inputs))
    assert len(both["main"].ret_ty.fields) == 2


def _scales(prefix, scale, zero):
    return {f"{prefix}_scale": np.asarray(scale, "float32"), f"{prefix}_zero": np.asarray(zero)}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_qlinear_conv(per_channel, bias):
    inputs = {"x": integers("uint8", 1, 4, 5, 6)}
    zero = np.zeros(6, "int8") if per_channel else np.int8(0)
    constants = {
        **_scales("x", 0.02, np.uint8(120)),
        "w": integers("int8", 6, 4, 3, 3, seed=1),
        **_scales("w", np.linspace(0.005, 0.02, 6) if per_channel else 0.01, zero),
        **_scales("y", 0.05, np.uint8(100)),
    }
    if bias:
        constants["b"] = integers("int8", 6, seed=2).astype("int32") * 100
    names = [
        "x",
        "x_scale",
        "x_zero",
        "w",
        "w_scale",
        "w_zero",
        "y_scale",
        "y_zero",
        *(["b"] if bias else []),
    ]
    proto = make(helper.make_node("QLinearConv", names, ["y"], pads=[1, 1, 1, 1]), inputs, constants)
    mod = load_onnx(proto)
    assert operators(mod) == [
        "dequantize", "dequantize", *(["dequantize"] if bias else []), "conv2d",
        *(["reshape", "add"] if bias else []), "quantize",
    ]  # fmt: skip
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]
    result = main(tvm.runtime.tensor(inputs["x"])).numpy()
    expected = ReferenceEvaluator(proto).run(None, inputs)[0]
    # Float sums round differently from integer ones, which moves a value that lies on an edge by one.
    difference = np.abs(result.astype(int) - expected.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize("per_column", [False, True])
def test_qlinear_matmul(per_column):
    inputs = {"a": integers("uint8", 3, 8)}
    zero = np.zeros(5, "int8") if per_column else np.int8(3)
    constants = {
        **_scales("a", 0.02, np.uint8(120)),
        "b": integers("int8", 8, 5, seed=1),
        **_scales("b", np.linspace(0.005, 0.02, 5) if per_column else 0.01, zero),
        **_scales("y", 0.05, np.uint8(100)),
    }
    names = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"]
    proto = make(helper.make_node("QLinearMatMul", names, ["y"]), inputs, constants)
    mod = load_onnx(proto)
    assert operators(mod) == ["dequantize", "dequantize", "matmul", "quantize"]
    main = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())["main"]
    result = main(tvm.runtime.tensor(inputs["a"])).numpy().astype(int)
    real = (inputs["a"].astype(int) - 120) @ (constants["b"].astype(int) - constants["b_zero"].astype(int))
    expected = np.rint(real * (0.02 * constants["b_scale"].astype(float)) / 0.05) + 100
    assert np.abs(result - np.clip(expected, 0, 255)).max() <= 1


@pytest.mark.parametrize("zeros", [(), ("x_zero",), ("x_zero", "w_zero")])
def test_conv_integer_is_exact(zeros):
    inputs = {"x": integers("uint8", 1, 4, 5, 6)}
    constants = {"w": integers("int8", 3, 4, 3, 3, seed=1), "x_zero": np.uint8(120), "w_zero": np.int8(5)}
    used = {name: value for name, value in constants.items() if name == "w" or name in zeros}
    node = helper.make_node("ConvInteger", ["x", "w", *zeros], ["y"], pads=[1, 1, 1, 1])
    proto = make(node, inputs, used)
    main = relax.VirtualMachine(tvm.compile(load_onnx(proto), target="llvm"), tvm.cpu())["main"]
    result = main(tvm.runtime.tensor(inputs["x"])).numpy()
    data = inputs["x"].astype(np.int64) - (120 if "x_zero" in zeros else 0)
    weight = used["w"].astype(np.int64) - (5 if "w_zero" in zeros else 0)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(data, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3)
    )
    np.testing.assert_array_equal(result, np.einsum("nchwij,ocij->nohw", windows, weight))
    assert result.dtype == np.int32


@pytest.mark.parametrize(
    ("domain", "op_type", "expected"),
    [
        ("", "Conv", True),
        ("ai.onnx", "Conv", True),
        ("", "Loop", False),
        ("com.microsoft", "FastGelu", True),
        ("com.microsoft", "Attention", True),
        ("com.microsoft", "Conv", False),  # of that domain, not ONNX's
        ("com.example", "Conv", False),
    ],
)
def test_can_convert(domain, op_type, expected):
    assert can_convert(domain, op_type) is expected
