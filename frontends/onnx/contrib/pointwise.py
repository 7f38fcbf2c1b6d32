"""Activations, with what is added in front of them, and QONNX's one-bit quantizer.

QONNX's quantizer is as Brevitas and FINN write it: https://github.com/fastmachinelearning/qonnx
"""

from __future__ import annotations

import numpy as np

from .body import Body


def quick_gelu(body: Body, x: str, *, alpha: float = 1.702) -> str:
    return body("Mul", x, body("Sigmoid", body("Mul", body.number(alpha, x), x)))


def bias_gelu(body: Body, x: str, bias: str) -> str:
    return body("Gelu", body("Add", x, bias))


def fast_gelu(body: Body, x: str, bias: str = "") -> str:
    return body("Gelu", body.sum(x, bias), approximate="tanh")


def bias_add(body: Body, x: str, bias: str, skip: str) -> str:
    return body.sum(x, bias, skip)


def bias_softmax(body: Body, x: str, bias: str, *, axis: int = 1, is_inner_broadcast: int) -> str:
    rank, bias_rank = len(body.shapes[x]), len(body.shapes[bias])
    if is_inner_broadcast and bias_rank < rank:  # the bias has the outer axes, those behind them are missing
        bias = body("Unsqueeze", bias, body.constant(np.arange(bias_rank, rank)))
    flat = body("Flatten", body("Add", x, bias), axis=axis % rank)
    return body("Reshape", body("Softmax", flat, axis=1), body.constant(body.shapes[x]))
