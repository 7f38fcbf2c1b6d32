"""A small network with pairs, and samples for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import tvm
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.hub.steps import simulated_form
from tvmq.search.host import function_on_host, run_on_host

from ..modules import const, module

LOW = Scheme("w3a4", weight_bits=3, activation_bits=4, edge_bits=3)
FINE = Scheme("w4a8", weight_bits=4, edge_bits=4)
SHAPE, CLASSES = (1, 3, 12, 12), 5
unoptimized = partial(function_on_host, runs=1)
"""Compiles what learns; its numbers are what is looked at, so its code need not be optimized."""


def classifier(b, x):
    """A stem, a residual block with a depthwise convolution, a strided convolution, and scores of classes."""

    def conv(data, *weight, bias=True, act=True, **attrs):
        result = b.add(relax.op.nn.conv2d(data, const(*weight, seed=len(b.layers) + 1), **attrs))
        if bias:
            result = b.add(relax.op.add(result, const(1, weight[0], 1, 1, seed=len(b.layers) + 1)))
        return b.add(relax.op.nn.relu(result)) if act else result

    stem = conv(x, 8, 3, 3, 3, padding=1)
    inner = conv(conv(stem, 16, 8, 1, 1), 16, 1, 3, 3, padding=1, groups=16)
    block = b.add(relax.op.add(conv(inner, 8, 16, 1, 1, act=False), stem))
    deep = conv(block, 16, 8, 3, 3, strides=2, padding=1, bias=False)
    pooled = b.add(relax.op.reshape(b.add(relax.op.nn.adaptive_avg_pool2d(deep, (1, 1))), (1, 16)))
    return b.add(relax.op.add(b.add(relax.op.matmul(pooled, const(16, CLASSES, seed=99))), const(CLASSES)))


def samples(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(count)]


def calibrated(scheme: Scheme = LOW, body=classifier) -> tvm.IRModule:
    return Calibrate(samples(8))(Annotate(scheme)(module({"x": SHAPE}, body)))


def outputs_of(mod: tvm.IRModule, images: Iterable[np.ndarray]) -> np.ndarray:
    """Return what a float module gives first for each image ``[C, H, W]``, one after the other."""
    images = list(images)
    run = run_on_host(mod, samples=len(images))
    return np.concatenate([run({"x": image[None]})[0] for image in images])


def simulated(hub: tvm.IRModule, images: Iterable[np.ndarray]) -> np.ndarray:
    """Return the same of a hub's simulation."""
    return outputs_of(simulated_form(hub), images)
