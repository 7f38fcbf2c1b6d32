"""Modules as text: names of layers, constants in short, and small differences for small changes."""

from __future__ import annotations

import re

import numpy as np
from tvm import relax

from tvmq.passes import (
    Annotate,
    Calibrate,
    FoldWeights,
    Layout,
    Realize,
    RoundWeights,
    WeightParameters,
    edit,
    get_scheme,
    weight_pairs,
)
from tvmq.passes.hub.graph import constant
from tvmq.passes.hub.parameters import quantize_weight
from tvmq.passes.scripting.readable import difference, readable
from tvmq.schedules.pipeline import plan_memory, to_kernels
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)


def _net(b, x):
    value = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1), "block/0.conv", "Conv")
    value = b.add(
        relax.op.add(value, constant(np.arange(4, dtype="float32").reshape(1, 4, 1, 1))), "bias", "Add"
    )
    return b.add(relax.op.nn.conv2d(value, const(4, 4, 3, 3, seed=2), padding=1), "second", "Conv")


def test_variables_and_constants():
    lines = [line.strip() for line in readable(module({"x": SHAPE}, _net)).splitlines()]
    assert lines[:3] == ["# block/0.conv (Conv): float", "# bias (Add): float", "# second (Conv): float"]
    conv, bias, second = (line for line in lines if "R.nn.conv2d" in line or "R.add" in line)
    assert re.match(
        r"block_0_conv: .* = R.nn.conv2d\(x, float32\[4, 4, 3, 3\] -\d.*\.\.\d.* #[0-9a-f]{6}, ", conv
    )
    assert "bias: " in bias and "R.add(block_0_conv, float32[1, 4, 1, 1] 0, 1, 2, 3)" in bias
    assert second.startswith("second: ") and "R.nn.conv2d(bias, " in second


def test_pairs_are_named_after_what_they_hold():
    text = readable(Annotate(get_scheme("int8"))(module({"x": SHAPE}, _net)))
    names = re.findall(r"^ +(\w+): .* = R\.(?:de)?quantize", text, re.M)
    assert names[:4] == ["x_q", "x_dq", "block_0_conv_weights_q", "block_0_conv_weights_dq"]
    assert "tvmq.scheme: {" in text and "metadata[" not in text and "tvmq_constant" not in text


def test_a_small_change_is_a_small_difference():
    samples = [{"x": random(*SHAPE)}]
    calibrated = Calibrate(samples)(Annotate(get_scheme("int8"))(module({"x": SHAPE}, _net)))
    (first, _) = weight_pairs(calibrated)
    scales = first.scales * np.float32(1.5)
    integers = quantize_weight(first.values, scales, first.axis)
    changed = edit(calibrated, weights={first.name: WeightParameters(scales, integers)})
    lines = difference(readable(calibrated), readable(changed), ("before", "after"))
    assert lines[0] == "--- before\n"
    assert [re.findall(r"^\+ +(\w+):", line) for line in lines if line.startswith("+ ")] == [
        ["block_0_conv_weights_q"],
        ["block_0_conv_weights_dq"],
    ]
    offset = RoundWeights(samples)(calibrated)
    assert "block_0_conv_weights_q: " in readable(offset) and "block_0_conv_weights: " in readable(offset)
    assert difference(readable(calibrated), readable(calibrated), ("before", "after")) == []


def test_lowered_modules_too():
    target = parse_target("llvm -mcpu=x86-64-v3")
    row = row_of(target)
    annotated = Annotate(get_scheme("int8"), row)(module({"x": SHAPE}, _net))
    folded = FoldWeights()(Calibrate([{"x": random(*SHAPE)}])(annotated))
    mod = Realize(row)(Layout()(folded))
    assert "R.call_tir(cls.qconv2d" in readable(mod)
    kernels, _ = to_kernels(mod, target, row)
    assert "tvmq_constant" not in readable(plan_memory()(kernels))
