"""Elementwise operators, each a function that adds a node with random inputs and attributes.

One that jumps (rounds, compares, picks) reads inputs of the graph, never results, whose last bits may differ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import helper

from tvmq.passes.hub import arithmetic

from .draft import FLOATS, INTEGERS, SIGNED, Draft


def unary(draft: Draft, op_type: str, low: float = -3, high: float = 3, **attributes) -> None:
    dtype = draft.one_of(*FLOATS)
    if (low, high) == (-3, 3) and draft.chance(0.6):
        data = draft.value(dtype=dtype)
    else:
        data = draft.fresh(draft.shape(), dtype, low, high)
    given = {name: draw(draft) for name, draw in attributes.items() if draft.chance(0.7)}
    # ONNX's evaluator fails on scalars here.
    x = draft.values[data]
    expected = [np.asarray(x / (1 + np.abs(x)), x.dtype)] if op_type == "Softsign" else None
    draft.node(op_type, data, expected=expected, **given)


def between(low: float, high: float) -> Callable[[Draft], float]:
    return lambda draft: float(draft.rng.uniform(low, high))


def jump(draft: Draft, op_type: str) -> None:
    """Ceil, Floor, Round, Sign: of fresh inputs, halves among them."""
    array = np.round(draft.array(draft.shape(), draft.one_of(*FLOATS)) * 4) / 4
    draft.node(op_type, draft.input(array.astype(array.dtype)))


def signed_unary(draft: Draft, op_type: str) -> None:
    """Abs, Neg, Sign of integers."""
    draft.node(op_type, draft.fresh(draft.shape(), draft.one_of(*SIGNED), -100, 100))


def binary(
    draft: Draft, op_type: str, low: float = -3, dtypes: tuple[str, ...] = (*FLOATS, *INTEGERS)
) -> None:
    dtype = draft.one_of(*dtypes)
    left, right = draft.broadcast_pair()
    if dtype == "float32" and draft.chance(0.3) and low < 0:
        a = draft.value()
        draft.node(op_type, a, draft.fresh(draft.shape_of(a), dtype))
        return
    draft.node(op_type, draft.fresh(left, dtype, low), draft.fresh(right, dtype, low))


def divide(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of(*FLOATS, *INTEGERS)
    left, right = draft.broadcast_pair()
    divisor = draft.array(right, dtype, 1, 9)
    if not dtype.startswith("uint"):
        divisor = divisor * draft.rng.choice([-1, 1], right).astype(dtype)
    divisor = np.asarray(divisor, dtype)
    draft.node(op_type, draft.fresh(left, dtype, -100, 100), draft.input(divisor))


def modulo(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of("float32", "float64", *INTEGERS)
    left, right = draft.broadcast_pair()
    divisor = draft.array(right, dtype, 1, 9)
    if not dtype.startswith("uint"):
        divisor = divisor * draft.rng.choice([-1, 1], right).astype(dtype)
    fmod = 1 if dtype.startswith("float") else draft.integer(0, 1)
    draft.node(
        op_type,
        draft.input(draft.array(left, dtype, -20, 20)),
        draft.input(np.asarray(divisor, dtype)),
        fmod=fmod,
    )


def power(draft: Draft, op_type: str) -> None:
    base, exponent = draft.broadcast_pair()
    if draft.chance():
        b = draft.fresh(base, draft.one_of(*FLOATS), 0.2, 3)
        draft.node(op_type, b, draft.fresh(exponent, draft.one_of("float32", "int32", "int64"), -2, 2))
    else:
        b = draft.fresh(base, draft.one_of("int32", "int64"), -5, 5)
        draft.node(op_type, b, draft.fresh(exponent, draft.one_of("int32", "int64"), 0, 4))


def compare(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of(*FLOATS, *INTEGERS, *(["bool"] if op_type == "Equal" else []))
    left, right = (
        np.round(draft.array(shape, dtype).astype("float64")).astype(dtype)
        for shape in draft.broadcast_pair()
    )
    draft.node(op_type, draft.input(left), draft.input(right))


def logical(draft: Draft, op_type: str) -> None:
    left, right = draft.broadcast_pair()
    draft.node(op_type, draft.fresh(left, "bool"), draft.fresh(right, "bool"))


def logical_not(draft: Draft, op_type: str) -> None:
    draft.node(op_type, draft.fresh(draft.shape(), "bool"))


def bitwise(draft: Draft, op_type: str) -> None:
    left, right = draft.broadcast_pair()
    dtype = draft.one_of(*INTEGERS)
    draft.node(op_type, draft.fresh(left, dtype, -100, 100), draft.fresh(right, dtype, -100, 100))


def bitwise_not(draft: Draft, op_type: str) -> None:
    draft.node(op_type, draft.fresh(draft.shape(), draft.one_of(*INTEGERS), -100, 100))


def bit_shift(draft: Draft, op_type: str) -> None:
    left, right = draft.broadcast_pair()
    dtype = draft.one_of("uint8", "uint16", "uint32", "uint64")
    counts = draft.input(draft.array(right, dtype, 0, 7))
    draft.node(
        op_type,
        draft.input(draft.array(left, dtype, 0, 100)),
        counts,
        direction=draft.one_of("LEFT", "RIGHT"),
    )


def several(draft: Draft, op_type: str) -> None:
    """Sum, Max, Min, Mean of one to four values."""
    dtype = draft.one_of(*FLOATS) if op_type in ("Sum", "Mean") else draft.one_of(*FLOATS, *INTEGERS)
    first, second = draft.broadcast_pair()
    shapes = [draft.one_of(first, second) for _ in range(draft.integer(1, 4))]
    names = [draft.fresh(shape, dtype) for shape in shapes]
    arrays = np.broadcast_arrays(*(draft.values[name] for name in names))
    combine = {"Sum": np.sum, "Mean": np.mean, "Max": np.max, "Min": np.min}[op_type]
    draft.node(op_type, *names, expected=[combine(np.stack(arrays), 0).astype(dtype)])


def is_special(draft: Draft, op_type: str) -> None:
    array = draft.array(draft.shape(), draft.one_of("float32", "float64"))
    flat = array.reshape(-1).copy()
    for at, value in enumerate((np.nan, np.inf, -np.inf)):
        flat[at::5] = value if draft.chance() else flat[at::5]
    attributes = (
        {}
        if op_type == "IsNaN"
        else {"detect_negative": draft.integer(0, 1), "detect_positive": draft.integer(0, 1)}
    )
    draft.node(op_type, draft.input(flat.reshape(array.shape)), **attributes)


def clip(draft: Draft, op_type: str) -> None:
    dtype = draft.one_of(*FLOATS, *INTEGERS)
    data = draft.value(dtype=dtype) if dtype.startswith("float") else draft.fresh(draft.shape(), dtype)
    bounds = [draft.constant(np.array(bound, dtype)) if draft.chance(0.7) else "" for bound in (1, 2)]
    while bounds and not bounds[-1]:
        bounds.pop()
    draft.node(op_type, data, *bounds)


def where(draft: Draft, op_type: str) -> None:
    left, right = draft.broadcast_pair()
    dtype = draft.one_of(*FLOATS, *INTEGERS, "bool")
    condition = draft.fresh(draft.one_of(left, right, ()), "bool")
    draft.node(op_type, condition, draft.fresh(left, dtype), draft.fresh(right, dtype))


def p_relu(draft: Draft, op_type: str) -> None:
    data = draft.value(1)
    shape = draft.shape_of(data)
    own = tuple(1 if draft.chance(0.4) else extent for extent in shape)
    draft.node(op_type, data, draft.fresh(own[draft.integer(0, len(own)) :] if draft.chance(0.4) else own))


def cast(draft: Draft, op_type: str) -> None:
    dtypes = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool")
    source, target = draft.one_of(*dtypes), draft.one_of(*dtypes)
    low = 0 if target.startswith("uint") or source.startswith("uint") else -100
    data = draft.input(draft.array(draft.shape(), source, low, 100))
    if op_type == "CastLike":
        draft.node(op_type, data, draft.input(draft.array((1,), target)))
    else:
        draft.node(op_type, data, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


def quantize_linear(draft: Draft, op_type: str) -> None:
    shape = draft.shape(1)
    axis = draft.axis(len(shape))
    dtype = draft.one_of("int8", "uint8")
    per_axis = draft.chance()
    parameters = (shape[axis],) if per_axis else ()
    scale = draft.constant(2.0 ** draft.rng.integers(-4, 0, parameters).astype("float32"))
    zero = draft.constant(draft.array(parameters, dtype, 0 if dtype == "uint8" else -9, 9))
    if op_type == "QuantizeLinear":
        # Sixteenths: halves among the quotients, and none that float32 rounds.
        data = draft.input((draft.rng.integers(-900, 900, shape) / 16).astype("float32"))
    else:
        data = draft.fresh(shape, dtype, -128, 127)
    along = [-1 if at == axis % len(shape) else 1 for at in range(len(shape))] if per_axis else []
    operands = draft.values[data], *(draft.values[name].reshape(along) for name in (scale, zero))
    result = (
        arithmetic.quantize(*operands, dtype)
        if op_type == "QuantizeLinear"
        else arithmetic.dequantize(*operands)
    )
    draft.node(op_type, data, scale, zero, axis=axis if per_axis else None, expected=[result])


def dynamic_quantize(draft: Draft, op_type: str) -> None:
    draft.node(op_type, draft.input(draft.array(draft.shape(1))), outputs=3)
