"""Operators of single elements, of one tensor or two that broadcast: the float ones between DQ and Q."""

from __future__ import annotations

from functools import partial

from tflite import ActivationFunctionType

from ...onnx.contrib.body import Write
from ..body import LIMITS, OperatorBody
from . import exact, tables


def unary(operator: str, body: OperatorBody, data: str, **_) -> str:
    """Write an operator of one input that ONNX has."""
    if body.is_exact(data):
        return tables.of_table(body, data, TABLES[operator])
    return body.result(body(operator, body.real(data)))


def binary(
    operator: str, body: OperatorBody, left: str, right: str, *, fused_activation_function: int = 0, **_
) -> str:
    """Write an operator of two inputs that ONNX has."""
    if body.is_exact(left, right):
        if operator in ("Add", "Sub"):
            return exact.sum_of(operator, body, left, right, fused_activation_function)
        if operator == "Mul":
            return exact.product_of(body, left, right, fused_activation_function)
    value = body(operator, body.real(left), body.real(right))
    return body.result(body.activated(value, fused_activation_function))


def compared(operator: str, body: OperatorBody, left: str, right: str, **_) -> str:
    """Write a comparison, whose result is of truth values."""
    return body(operator, body.real(left), body.real(right))


def not_equal(body: OperatorBody, left: str, right: str, **_) -> str:
    return body("Not", body("Equal", body.real(left), body.real(right)))


def relu_between(low: float, high: float, body: OperatorBody, data: str, **_) -> str:
    """Write a limit of a tensor to a range."""
    if body.is_exact(data):
        function = next(each for each, limits in LIMITS.items() if limits == (low, high))
        return tables.of_table(body, data, partial(tables.limited_to, function))
    return body.result(body.limited(body.real(data), low, high))


def leaky_relu(body: OperatorBody, data: str, *, alpha: float = 0.0, **_) -> str:
    if body.is_exact(data):
        return tables.of_table(body, data, partial(tables.leaky_relu, alpha))
    return body.result(body("LeakyRelu", body.real(data), alpha=alpha))


def prelu(body: OperatorBody, data: str, alpha: str, **_) -> str:
    if body.is_exact(data, alpha):
        return exact.prelu(body, data, alpha)
    return body.result(body("PRelu", body.real(data), body.real(alpha)))


def square(body: OperatorBody, data: str, **_) -> str:
    value = body.real(data)
    return body.result(body("Mul", value, value))


def squared_difference(body: OperatorBody, left: str, right: str, **_) -> str:
    difference = body("Sub", body.real(left), body.real(right))
    return body.result(body("Mul", difference, difference))


def rsqrt(body: OperatorBody, data: str, **_) -> str:
    return body.result(body("Reciprocal", body("Sqrt", body.real(data))))


def gelu(body: OperatorBody, data: str, *, approximate: int = 0, **_) -> str:
    return body.result(body("Gelu", body.real(data), approximate="tanh" if approximate else "none"))


def floor_div(body: OperatorBody, left: str, right: str, **_) -> str:
    if body.inputs[left].dtype.startswith("float"):
        return body("Floor", body("Div", left, right))
    # Of integers: the quotient without what a floor of the rest takes off.
    rest = body("Mod", left, right)
    return body("Div", body("Sub", left, rest), right)


def floor_mod(body: OperatorBody, left: str, right: str, **_) -> str:
    if not body.inputs[left].dtype.startswith("float"):
        return body("Mod", left, right)
    whole = body("Floor", body("Div", left, right))
    return body("Sub", left, body("Mul", whole, right))


def add_n(body: OperatorBody, *data: str, **_) -> str:
    return body.result(body("Sum", *(body.real(name) for name in data)))


def select(body: OperatorBody, condition: str, chosen: str, other: str, **_) -> str:
    rank, own = len(body.shapes[chosen]), body.shapes[condition]
    if len(own) == 1 < rank and own[0] == body.shapes[chosen][0]:  # SELECT: one truth value a row
        condition = body.reshape(condition, -1, *[1] * (rank - 1))
    return body.result(body("Where", condition, body.real(chosen), body.real(other)))


def softmax(body: OperatorBody, data: str, *, beta: float = 1.0, **_) -> str:
    if body.is_exact(data):
        return exact.softmax(body, data, beta)
    value = body.real(data)
    if beta != 1.0:
        value = body("Mul", value, body.constant(beta, "float32"))
    return body.result(body("Softmax", value, axis=-1))


def log_softmax(body: OperatorBody, data: str, **_) -> str:
    return body.result(body("LogSoftmax", body.real(data), axis=-1))


def l2_normalization(body: OperatorBody, data: str, **_) -> str:
    value = body.real(data)
    norm = body("ReduceL2", value, body.constant([-1]), keepdims=1)
    floor = body.constant(1e-6, "float32")
    return body.result(body("Div", value, body("Max", norm, floor)))


UNARY = {
    "ABS": "Abs",
    "CEIL": "Ceil",
    "COS": "Cos",
    "ELU": "Elu",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "HARD_SWISH": "HardSwish",
    "LOG": "Log",
    "LOGICAL_NOT": "Not",
    "LOGISTIC": "Sigmoid",
    "NEG": "Neg",
    "RELU": "Relu",
    "ROUND": "Round",
    "SIGN": "Sign",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "TANH": "Tanh",
}
"""TFLite's operators of one input to ONNX's."""

TABLES: dict[str, tables.Table] = {
    "HardSwish": tables.hard_swish,
    "Relu": partial(tables.limited_to, ActivationFunctionType.RELU),
    "Sigmoid": tables.logistic,
    "Tanh": tables.tanh,
}
"""Tables of those whose exact integers are known, by ONNX's names."""

BINARY = {
    "ADD": "Add",
    "DIV": "Div",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "MUL": "Mul",
    "POW": "Pow",
    "SUB": "Sub",
}
"""Those of two."""

COMPARED = {
    "EQUAL": "Equal",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "LOGICAL_AND": "And",
    "LOGICAL_OR": "Or",
}
"""Those whose result is of truth values."""

ELEMENTWISE: dict[str, Write] = {
    **{name: partial(unary, operator) for name, operator in UNARY.items()},
    **{name: partial(binary, operator) for name, operator in BINARY.items()},
    **{name: partial(compared, operator) for name, operator in COMPARED.items()},
    "ADD_N": add_n,
    "FLOOR_DIV": floor_div,
    "FLOOR_MOD": floor_mod,
    "GELU": gelu,
    "L2_NORMALIZATION": l2_normalization,
    "LEAKY_RELU": leaky_relu,
    "LOG_SOFTMAX": log_softmax,
    "NOT_EQUAL": not_equal,
    "PRELU": prelu,
    "RELU6": partial(relu_between, 0.0, 6.0),
    "RELU_0_TO_1": partial(relu_between, 0.0, 1.0),
    "RELU_N1_TO_1": partial(relu_between, -1.0, 1.0),
    "RSQRT": rsqrt,
    "SELECT": select,
    "SELECT_V2": select,
    "SOFTMAX": softmax,
    "SQUARE": square,
    "SQUARED_DIFFERENCE": squared_difference,
}
