"""How many bits each value gets, and which readers get a second pair with fewer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.bits import Bits, LayerBits, get_bits
from tvmq.passes.hub.graph import bindings_of, layer_name, op_name
from tvmq.passes.hub.pairs import activation_pairs, float_form, weight_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.blocks import blocks_of
from tvmq.targets.features import row_of
from tvmq.targets.hardware import Hardware
from tvmq.targets.parse import parse_target

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)


def conv(b, x, name):
    return b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1), name, "Conv")


def add(b, x, y, name):
    return b.add(relax.op.add(x, y), name, "Add")


def residual(b, x):
    """first -> head -> (inner -> +) -> last"""
    head = conv(b, conv(b, x, "first"), "head")
    return conv(b, add(b, head, conv(b, head, "inner"), "sum"), "last")


def annotated(body, **options):
    return Annotate(get_scheme("w4a4"), None, QuantizeOptions(**options))(module({"x": SHAPE}, body))


def bits(mod):
    return {pair.name: pair.bits for pair in activation_pairs(mod)}


def reads(mod):
    """Return the name of the pair whose value each operator reads first."""
    pairs = {pair.dequantize: pair.name for pair in activation_pairs(mod)}
    return {
        layer_name(binding.value): pairs[binding.value.args[0]]
        for binding in bindings_of(mod)
        if op_name(binding.value) in ("relax.nn.conv2d", "relax.add", "relax.nn.max_pool2d")
        and binding.value.args[0] in pairs
    }


def test_a_sum_keeps_8_bits_of_what_a_convolution_reads_4_of():
    mod = annotated(residual)
    assert bits(mod) == {"x": 8, "first": 8, "head": 8, "head:2": 4, "sum": 8}  # the last layer has 8
    assert reads(mod) == {"first": "x", "head": "first", "inner": "head:2", "sum": "head", "last": "sum"}


def test_what_only_convolutions_read_has_one_pair():
    mod = annotated(lambda b, x: conv(b, conv(b, conv(b, conv(b, x, "first"), "head"), "inner"), "last"))
    assert bits(mod) == {"x": 8, "first": 8, "head": 4, "inner": 8}


def test_what_the_first_layer_gives_has_8_bits_unless_the_reader_is_said_to_have_fewer():
    def body(b, x):
        return conv(b, conv(b, conv(b, x, "first"), "inner"), "last")

    assert bits(annotated(body)) == {"x": 8, "first": 8, "inner": 8}
    assert bits(annotated(body, bits={"inner": (4, 4)})) == {"x": 8, "first": 4, "inner": 8}


def test_two_convolutions_share_the_second_pair():
    def body(b, x):
        head = conv(b, conv(b, x, "first"), "head")
        left, right = conv(b, head, "left"), conv(b, head, "right")
        return conv(b, add(b, head, add(b, left, right, "inner"), "outer"), "last")

    mod = annotated(body)
    assert bits(mod) == {"x": 8, "first": 8, "head": 8, "head:2": 4, "left": 8, "inner": 8, "outer": 8}
    assert reads(mod)["left"] == reads(mod)["right"] == "head:2"


def test_the_second_pair_stands_behind_moves():
    def body(b, x):
        head = conv(b, conv(b, x, "first"), "head")
        pool = b.add(relax.op.nn.max_pool2d(head, (3, 3), padding=1), "pool", "MaxPool")
        return conv(b, add(b, pool, conv(b, pool, "inner"), "sum"), "last")

    mod = annotated(body)
    assert bits(mod) == {"x": 8, "first": 8, "head": 8, "head:2": 4, "sum": 8}
    assert reads(mod) == {"first": "x", "head": "first", "pool": "head", "inner": "head:2", "last": "sum"}
    calibrated = Calibrate([{"x": random(*SHAPE)}])(mod)
    assert bits(calibrated) == bits(mod)  # a clip has come before it


def test_an_input_has_a_second_pair_too():
    def body(b, x):
        return conv(b, add(b, x, conv(b, conv(b, x, "first"), "inner"), "sum"), "last")

    mod = annotated(body, bits={"first": (4, 4)})
    assert bits(mod) == {"x": 8, "x:2": 4, "first": 8, "sum": 8}
    calibrated = Calibrate([{"x": random(*SHAPE)}])(mod)
    assert bits(calibrated) == bits(mod)


def test_what_is_joined_has_the_bits_of_the_whole():
    def body(b, x):
        head = conv(b, conv(b, x, "first"), "head")
        joined = b.add(relax.op.concat([conv(b, head, "left"), conv(b, head, "right")], 1), "join", "Concat")
        narrow = b.add(relax.op.nn.conv2d(joined, const(4, 8, 1, 1)), "narrow", "Conv")
        return conv(b, narrow, "last")

    assert bits(annotated(body)) == {
        **{"x": 8, "first": 8, "head": 4, "narrow": 8},
        **{"left": 4, "right": 4, "join": 4},
    }


def test_what_is_averaged_has_8_bits():
    def body(b, x):
        inner = conv(b, conv(b, x, "first"), "inner")
        pooled = b.add(relax.op.mean(inner, [2, 3], True), "mean", "GlobalAveragePool")
        return conv(b, b.add(relax.op.broadcast_to(pooled, SHAPE), "wide", "Expand"), "last")

    assert bits(annotated(body)) == {"x": 8, "first": 8, "inner": 8, "mean": 8}


def test_bits_of_a_layer_count_for_what_it_reads():
    assert "head:2" not in bits(annotated(residual, bits={"inner": (4, 8)}))
    assert bits(annotated(residual, bits={"last": (4, 4)}))["sum"] == 4
    assert bits(annotated(residual, bits={"inner": (4, 3)}))["head:2"] == 3


def inverted(b, x):
    """first -> expand -> depthwise -> project -> last"""
    expand = conv(b, conv(b, x, "first"), "expand")
    filters = relax.op.nn.conv2d(expand, const(4, 1, 3, 3), padding=1, groups=4)
    return conv(b, conv(b, b.add(filters, "depthwise", "Conv"), "project"), "last")


def weight_bits(mod):
    return {pair.name: pair.bits for pair in weight_pairs(mod)}


def test_depthwise_convolutions_have_bits_of_their_own():
    mod = annotated(inverted)
    assert weight_bits(mod) == {"first": 8, "expand": 4, "depthwise": 8, "project": 4, "last": 8}
    assert bits(mod) == {"x": 8, "first": 8, "expand": 8, "depthwise": 4, "project": 8}
    mod = annotated(inverted, depthwise_bits=4)
    assert weight_bits(mod)["depthwise"] == bits(mod)["expand"] == 4
    mod = annotated(inverted, depthwise_bits=6)
    assert weight_bits(mod)["depthwise"] == bits(mod)["expand"] == 6
    mod = annotated(inverted, bits={"depthwise": (3, 5)})  # what is said of a layer counts
    assert (weight_bits(mod)["depthwise"], bits(mod)["expand"]) == (3, 5)


def test_depthwise_convolutions_have_the_bits_of_others_where_nothing_is_said_of_them():
    options = QuantizeOptions(weight_bits=5, activation_bits=6)
    mod = Annotate(get_scheme("int8"), None, options)(module({"x": SHAPE}, inverted))
    assert (weight_bits(mod)["depthwise"], bits(mod)["expand"]) == (5, 6)


def test_a_last_layer_that_is_depthwise_keeps_its_bits():
    def body(b, x):
        filters = relax.op.nn.conv2d(conv(b, x, "first"), const(4, 1, 3, 3), padding=1, groups=4)
        return b.add(filters, "last", "Conv")

    assert weight_bits(annotated(body, depthwise_bits=4)) == {"first": 8, "last": 8}


def test_hardware_of_few_bits_has_them_for_depthwise_convolutions():
    hardware = Hardware("npu", ("Conv",), (4,), (4,), ("channel",), ("asymmetric",))
    edges = dict.fromkeys(("first", "expand", "last"), (4, 4))
    mod = annotated(inverted, hardware=hardware, bits=edges)
    assert set(weight_bits(mod).values()) == set(bits(mod).values()) == {4}
    with pytest.raises(TvmqError, match="no weights of 8 bits, which layer 'depthwise' is to have"):
        annotated(inverted, hardware=hardware, bits=edges, depthwise_bits=8)


@pytest.mark.parametrize("count", [1, 9])
def test_bits_of_depthwise_convolutions_have_limits(count):
    with pytest.raises(TvmqError, match=f"depthwise_bits must be from 2 to 8, got {count}"):
        QuantizeOptions(depthwise_bits=count)


def npu(*activation_bits):
    return Hardware("npu", ("Conv", "Add"), (4, 8), activation_bits, ("channel",), ("asymmetric",))


def test_hardware_of_few_bits_adds_them():
    assert set(bits(annotated(residual, hardware=npu(4), bits={"*": (4, 4)})).values()) == {4}


def test_hardware_lacks_the_bits_of_a_second_pair():
    with pytest.raises(TvmqError, match="no activations of 3 bits, which layer 'head' is to have"):
        annotated(residual, hardware=npu(4, 8), bits={"inner": (4, 3)})


def test_int8_has_one_pair_a_value():
    mod = Annotate(get_scheme("int8"))(module({"x": SHAPE}, residual))
    assert bits(mod) == {"x": 8, "first": 8, "head": 8, "sum": 8}


def test_pairs_of_pairs_leave_the_float_model():
    mod, plain = annotated(residual), module({"x": SHAPE}, residual)
    sample = {"x": random(*SHAPE)}
    (expected,), (result,) = (
        compile_for_host(float_form(each, relax.Tuple([each["main"].body.body])))(sample)
        for each in (plain, mod)
    )
    np.testing.assert_array_equal(result, expected)


def test_the_second_pair_is_calibrated_on_the_value():
    mod = Calibrate([{"x": random(*SHAPE)}], observer="minmax")(annotated(residual))
    pairs = {pair.name: pair for pair in activation_pairs(mod)}
    wide, narrow = pairs["head"], pairs["head:2"]
    assert narrow.scale == pytest.approx(17 * wide.scale, rel=0.1)  # 255 steps and 15
    assert narrow.source.same_as(wide.dequantize)


def test_no_block_begins_between_two_pairs_of_a_value():
    mod = Calibrate([{"x": random(*SHAPE)}])(annotated(residual))
    inner = {pair.dequantize for pair in activation_pairs(mod)}
    assert not inner & {var for block in blocks_of(mod) for var in (*block.inputs, *block.outputs)}


def test_the_record_holds_them():
    record = Bits(LayerBits(4, 4), {"a": 8}, {"b": 8}, {"b": 4})
    mod = module({"x": SHAPE}, residual).with_attr(
        "tvmq.bits",
        json.dumps(
            {
                "default": {"weights": 4, "activations": 4},
                "weights": {"a": 8},
                "activations": {"b": 8},
                "narrowed": {"b": 4},
            }
        ),
    )
    assert get_bits(mod) == record
    assert (record.of_activation("b"), record.of_narrowed("b"), record.of_narrowed("c")) == (8, 4, 4)


AVX2 = row_of(parse_target("llvm -mcpu=haswell"))


def chain(b, x):
    return conv(b, conv(b, conv(b, conv(b, x, "first"), "inner"), "outer"), "last")


def of_target(scheme="int8", **options):
    return Annotate(get_scheme(scheme), AVX2, QuantizeOptions(**options))(module({"x": SHAPE}, chain))


def test_bits_for_which_the_target_has_no_kernel_are_an_error():
    message = (
        "x86-avx2 has no kernel for weights of 5 bits, of layer 'inner'; it has those for 2, 4 and 8 bits"
    )
    with pytest.raises(TvmqError, match=message):
        of_target(bits={"inner": 5})
    with pytest.raises(TvmqError, match="no kernel for weights of 3 bits; it has .* allow_wider"):
        of_target(weight_bits=3)
    assert weight_bits(of_target(weight_bits=4))["inner"] == 4


def test_or_get_the_next_more(caplog):
    mod = of_target(bits={"inner": 5, "outer": 2}, weight_bits=3, allow_wider=True)
    assert weight_bits(mod) == {"first": 8, "inner": 8, "outer": 2, "last": 8}
    assert [record.getMessage()[-6:] for record in caplog.records] == ["gets 4", "gets 8"]
    assert weight_bits(of_target(weight_bits=3, allow_wider=True))["inner"] == 4


def test_an_accelerator_has_bits_of_its_own():
    hardware = Hardware("npu", ("Conv",), (5, 8), (8,), ("channel",), ("asymmetric",))
    assert weight_bits(of_target(bits={"inner": 5}, hardware=hardware))["inner"] == 5


@pytest.mark.parametrize(
    ("scheme", "weights", "limits", "activations"),
    [
        ("int4", 4, (-8, 7), 8),
        ("w4a8", 4, (-8, 7), 8),
        ("w4a4", 4, (-8, 7), 4),
        ("int2", 2, (-2, 1), 8),
        ("w2a8", 2, (-2, 1), 8),
        ("w2a2", 2, (-2, 1), 2),
        ("ternary", 2, (-1, 1), 8),
        ("binary", 8, (-127, 127), 8),
    ],
)
def test_schemes(scheme, weights, limits, activations):
    mod = of_target(scheme)
    (pair,) = [pair for pair in weight_pairs(mod) if pair.name == "outer"]
    assert (pair.bits, pair.limits) == (weights, limits)
    assert bits(mod)["inner"] == activations
    assert weight_bits(mod)["first"] == weight_bits(mod)["last"] == 8
