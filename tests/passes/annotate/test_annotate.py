"""Where pairs stand, and what the records say, for one pattern after the other."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.annotation import has_pairs, is_unknown, scheme_of
from tvmq.passes.hub.graph import bindings_of, is_constant, layer_name, op_name, shape_of, to_numpy
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.row_pairs import row_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.targets.rows import ROWS

from ..modules import calls, const, module, operators

SHAPE = (1, 4, 6, 6)


def conv(b, x, name="conv", bias=True):
    value = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1), name, "Conv")
    return b.add(relax.op.add(value, const(1, 4, 1, 1)), name, "Conv") if bias else value


def relu(b, x, name="relu"):
    return b.add(relax.op.nn.relu(x), name, "Relu")


def annotate(mod, **options):
    return Annotate(get_scheme("int8"), None, QuantizeOptions(**options))(mod)


def paired(mod):
    """Return what each activation pair stands behind: an operator's name, or the parameter's."""
    found = []
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    for call in calls(mod, "quantize"):
        source = call.args[0]
        if not is_constant(source):
            found.append(op_name(values[source]).split(".")[-1] if source in values else source.name)
    return found


def statuses(mod):
    return {layer.name: layer.status for layer in get_layers(mod)}


def reasons(mod):
    return {layer.name: layer.reason for layer in get_layers(mod) if layer.reason}


def details(mod, name):
    return next(layer.details for layer in get_layers(mod) if layer.name == name)


def annotated(body, inputs=None, **options):
    return annotate(module(inputs or {"x": SHAPE}, body), **options)


def test_a_pair_stands_behind_bias_and_relu():
    mod = annotated(lambda b, x: conv(b, relu(b, conv(b, x, "c1")), "c2"))
    assert paired(mod) == ["x", "relu"]
    assert statuses(mod) == {"c1": "int8", "relu": "int8", "c2": "int8"}
    assert details(mod, "relu") == {"fused_into": "c1"}
    assert details(mod, "c1") == {}
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    last = calls(mod, "add")[-1]
    assert (
        op_name(values[last.args[0]]) == "relax.nn.conv2d"
    )  # its result is float, straight from the accumulator
    assert layer_name(calls(mod, "quantize")[2]) == "c1"  # the pair belongs to the kernel that gives it


def test_parameters_are_marked_unknown():
    mod = annotated(lambda b, x: conv(b, x))
    activation, weight = calls(mod, "quantize")
    assert all(is_unknown(call) for call in calls(mod, "quantize") + calls(mod, "dequantize"))
    assert shape_of(activation.args[1]) == () and str(activation.attrs.out_dtype) == "uint8"
    assert shape_of(weight.args[1]) == (4,) and str(weight.attrs.out_dtype) == "int8"
    assert int(weight.attrs.axis) == 0
    assert to_numpy(activation.args[2]) == 0 and not to_numpy(weight.args[2]).any()


def test_dense_has_a_scale_per_column():
    mod = annotated(lambda b, x: b.add(relax.op.matmul(x, const(4, 6))), {"x": (3, 4)})
    weight = calls(mod, "quantize")[1]
    assert shape_of(weight.args[1]) == (6,) and int(weight.attrs.axis) == 1


def test_one_scale_a_tensor_on_request():
    mod = annotated(lambda b, x: conv(b, x), per_channel=False)
    assert shape_of(calls(mod, "quantize")[1].args[1]) == (1,)


def test_the_target_decides_the_stored_dtype_and_the_user_the_symmetry():
    row = next(iter(ROWS))
    mod = module({"x": SHAPE}, lambda b, x: conv(b, x))
    mod = Annotate(get_scheme("int8"), row, QuantizeOptions(activations="symmetric"))(mod)
    scheme = scheme_of(mod)
    assert (scheme.activation_dtype, scheme.symmetric_activations) == (row.activation_dtype, True)


class TestResidual:
    def test_the_addition_absorbs_the_convolution(self):
        def body(b, x):
            first = relu(b, conv(b, x, "c1"), "r1")
            total = b.add(relax.op.add(first, conv(b, first, "c2")), "sum", "Add")
            return conv(b, relu(b, total, "r2"), "c3")

        mod = annotated(body)
        assert paired(mod) == ["x", "relu", "relu"]  # none between c2 and the sum
        assert details(mod, "sum") == {"fused_into": "c2"} and details(mod, "r2") == {"fused_into": "sum"}

    def test_of_two_convolutions_the_later_one(self):
        def body(b, x):
            left = conv(b, x, "left")
            right = conv(b, x, "right")
            return conv(b, relu(b, b.add(relax.op.add(right, left), "sum", "Add")), "last")

        mod = annotated(body)
        assert paired(mod) == ["x", "add", "relu"]
        assert details(mod, "sum") == {"fused_into": "right"}

    @pytest.mark.parametrize("reader", ["relu before", "second reader", "product", "broadcast"])
    def test_near_miss(self, reader):
        def body(b, x):
            one = conv(b, x, "one")
            other = relu(b, x, "other")
            if reader == "relu before":
                one = relu(b, one, "before")
            if reader == "broadcast":
                one = conv(b, b.add(relax.op.nn.avg_pool2d(x, (6, 6))), "one")
            join = relax.op.multiply if reader == "product" else relax.op.add
            total = b.add(join(one, other), "join", "Add")
            result = conv(b, total, "last")
            return relax.Tuple([result, conv(b, one, "again")]) if reader == "second reader" else result

        mod = annotated(body)
        assert "fused_into" not in details(mod, "join")
        assert ("relu" if reader == "relu before" else "add") in paired(mod)

    def test_of_the_same_value_twice(self):
        mod = annotated(lambda b, x: conv(b, b.add(relax.op.add(c := conv(b, x), c)), "last"))
        # A value plus itself is a function of one tensor: the table reads the convolution's integers.
        assert paired(mod) == ["x", "add", "add"]


class TestTables:
    def test_a_function_of_several_operators_is_one_table(self):
        def body(b, x):
            value = conv(b, x, "c1")
            gate = b.add(relax.op.add(value, relax.const(3.0)), "swish", "HardSwish")
            gate = b.add(
                relax.op.divide(b.add(relax.op.clip(gate, 0, 6), "swish"), relax.const(6.0)), "swish"
            )
            return conv(b, b.add(relax.op.multiply(value, gate), "swish"), "c2")

        mod = annotated(body)
        assert paired(mod) == ["x", "add", "multiply"]
        assert statuses(mod) == {"c1": "int8", "swish": "int8", "c2": "int8"}

    def test_a_gate_from_another_tensor_is_a_product(self):
        def body(b, x):
            value = conv(b, x, "c1")
            pooled = b.add(relax.op.mean(value, [2, 3], keepdims=True), "pool")
            gate = b.add(relax.op.sigmoid(conv(b, pooled, "c2")), "gate")
            return conv(b, b.add(relax.op.multiply(value, gate), "scale"), "c3")

        mod = annotated(body)
        assert paired(mod) == ["x", "add", "mean", "add", "sigmoid", "multiply"]

    def test_relu_that_cannot_be_fused_is_a_table(self):
        def body(b, x):
            value = conv(b, x, "c1")
            return relax.Tuple([conv(b, relu(b, value), "c2"), conv(b, value, "c3")])

        mod = annotated(body)
        assert paired(mod) == ["x", "add", "relu"]
        assert "fused_into" not in details(mod, "relu")

    def test_a_constant_by_position_stays_float(self):
        def body(b, x):
            value = b.add(relax.op.multiply(relu(b, conv(b, x, "c1")), const(6, 6)), "scale", "Mul")
            return conv(b, value, "c2")

        mod = annotated(body)
        assert reasons(mod) == {"scale": "one operand is a constant that is no single number"}
        assert paired(mod) == ["x", "multiply"]  # c1 gives float; c2 needs integers again


class TestDemand:
    def test_results_that_only_outputs_read_stay_float(self):
        def body(b, x):
            return b.add(relax.op.mean(relu(b, conv(b, x)), [2, 3]), "pool")

        mod = annotated(body)
        assert paired(mod) == ["x"]
        assert reasons(mod) == {"pool": "only float operators and outputs read its result"}
        assert statuses(mod)["conv"] == "int8" and statuses(mod)["relu"] == "int8"

    def test_a_sum_that_only_an_output_reads_takes_its_relu_along(self):
        def body(b, x):
            first = conv(b, x, "c1")
            return relu(b, b.add(relax.op.add(first, conv(b, first, "c2")), "sum"))

        mod = annotated(body)
        assert reasons(mod) == {
            "sum": "only float operators and outputs read its result",
            "relu": "its input is float",
        }

    def test_moves_pass_integers_on(self):
        def body(b, x):
            value = relu(b, conv(b, x, "c1"))
            value = b.add(relax.op.nn.max_pool2d(value, (2, 2), (2, 2)), "pool")
            parts = b.add(relax.op.split(value, 2, axis=1), "split")
            value = b.add(relax.op.reshape(b.add(relax.TupleGetItem(parts, 0)), (1, 18)), "flatten")
            return b.add(relax.op.matmul(value, const(18, 3)), "dense")

        mod = annotated(body)
        assert paired(mod) == ["x", "relu"]
        assert set(statuses(mod).values()) == {"int8"}

    def test_a_convolution_counts_and_not_the_squeeze_behind_it(self):
        def body(b, x):
            wide = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3)), "conv1d")
            return b.add(relax.op.reshape(wide, (64,)), "conv1d")

        assert statuses(annotated(body)) == {"conv1d": "int8"}

    def test_a_float_value_is_quantized_for_those_who_need_it_and_stays_float_for_others(self):
        def body(b, x):
            soft = b.add(relax.op.nn.softmax(x, axis=1), "softmax", "Softmax")
            return relax.Tuple([conv(b, soft), b.add(relax.op.exp(soft), "exp")])

        mod = annotated(body)
        assert paired(mod) == ["softmax"]
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        assert op_name(values[calls(mod, "exp")[0].args[0]]) == "relax.nn.softmax"
        assert reasons(mod) == {"softmax": "no integer form of softmax", "exp": "its inputs are float"}

    def test_concatenation_of_parts_of_one_tensor(self):
        def body(b, x):
            wide = relu(b, conv(b, x, "c1"))
            parts = [b.add(relax.op.strided_slice(wide, [2], [place], [place + 3])) for place in range(2)]
            return conv(b, b.add(relax.op.concat(parts, axis=2), "concat"), "c2")

        assert paired(annotated(body)) == ["x", "relu"]

    def test_concatenation(self):
        def body(b, x):
            joined = b.add(relax.op.concat([relu(b, conv(b, x, "c1")), conv(b, x, "c2")], axis=1), "concat")
            return b.add(relax.op.nn.conv2d(joined, const(2, 8, 1, 1)), "c3")

        assert paired(annotated(body)) == ["x", "relu", "add", "concat"]

    def test_weights_that_are_computed(self):
        mod = annotated(
            lambda b, x, w: b.add(relax.op.nn.conv2d(x, w), "conv"), {"x": SHAPE, "w": (4, 4, 3, 3)}
        )
        assert reasons(mod) == {"conv": "its weights are computed, not constant"}
        assert not has_pairs(mod)

    def test_other_dtypes_stay(self):
        mod = module(
            {"x": (3, 4)},
            lambda b, x: b.add(relax.op.matmul(x, relax.const(np.ones((4, 2), "int32")))),
            "int32",
        )
        mod = annotate(mod)
        assert not has_pairs(mod) and reasons(mod) == {"layer0": "it works on int32"}


class TestChoice:
    BODY = staticmethod(
        lambda b, x: conv(b, relu(b, conv(b, relu(b, conv(b, x, "c1"), "r1"), "c2"), "r2"), "c3")
    )

    def test_skipped_layers(self):
        mod = annotated(self.BODY, skip_layers=("c2",))
        assert reasons(mod)["c2"] == "skipped by layer 'c2'"
        assert statuses(mod)["c1"] == statuses(mod)["c3"] == "int8"
        assert paired(mod) == ["x", "relu"]  # c1 gives float; c3 takes integers from r2

    def test_a_skipped_activation_is_not_fused(self):
        mod = annotated(self.BODY, skip_layers=("r1",))
        assert statuses(mod)["r1"] == "float" and statuses(mod)["r2"] == "int8"

    def test_skipped_operator_types(self):
        mod = annotated(self.BODY, skip_ops=("Conv",))
        assert not has_pairs(mod)

    def test_only_some(self):
        mod = annotated(self.BODY, quantize_only=("c1", "c2"))
        assert reasons(mod)["c3"] == "not among the layers to quantize"
        assert details(mod, "r1") == {"fused_into": "c1"}  # what a chosen layer absorbs needs no mention

    @pytest.mark.parametrize(
        ("options", "name"), [({"quantize_first": False}, "c1"), ({"quantize_last": False}, "c3")]
    )
    def test_first_and_last(self, options, name):
        mod = annotated(self.BODY, **options)
        floats = {layer for layer, status in statuses(mod).items() if status == "float"}
        assert name in floats and "c2" not in floats

    def test_a_name_that_matches_nothing(self):
        with pytest.raises(TvmqError, match="unknown layer 'c4'"):
            annotated(self.BODY, skip_layers=("c4",))


def test_a_quantized_module_is_refused():
    with pytest.raises(
        TvmqError, match="Annotate: needs a float model without .* pairs, and value 'x' has one"
    ):
        annotate(annotated(lambda b, x: conv(b, x)))


def test_operators_stay_in_their_order():
    mod = annotated(TestChoice.BODY)
    kept = [name for name in operators(mod) if name not in ("quantize", "dequantize")]
    assert kept == ["conv2d", "add", "relu"] * 2 + ["conv2d", "add"]


def test_small_layers_stay_float():
    def body(b, x):
        small = b.add(relax.op.nn.conv2d(x, const(3, 4, 1, 1)), "small", "Conv")  # 12 weights, 3 channels
        return b.add(relax.op.nn.conv2d(small, const(4, 3, 1, 1)), "wide", "Conv")  # 12 weights, 4 channels

    assert reasons(annotated(body, min_weight_size=12, min_weight_channels=3)) == {}
    assert reasons(annotated(body, min_weight_size=13)) == dict.fromkeys(
        ["small", "wide"], "its 12 weights are fewer than the smallest size, 13"
    )
    assert reasons(annotated(body, min_weight_channels=4)) == {
        "small": "its 3 output channels are fewer than the least, 4"
    }


def dynamic(body, inputs, has_samples=False, **options):
    scheme = get_scheme("dynamic")
    return Annotate(scheme, None, QuantizeOptions(**options), has_samples)(module(inputs, body))


def dense(b, x, name, columns=8, bias=True):
    weight = const(shape_of(x)[-1], columns)
    value = b.add(relax.op.matmul(x, weight), name, "MatMul")
    return b.add(relax.op.add(value, const(columns)), name, "MatMul") if bias else value


def test_dynamic_products_read_row_pairs():
    def body(b, x):
        first, second = dense(b, x, "a"), dense(b, x, "b")
        scores = b.add(
            relax.op.matmul(first, b.add(relax.op.permute_dims(second, [0, 2, 1]))), "scores", "MatMul"
        )
        return dense(b, relu(b, scores), "c")

    mod = dynamic(body, {"x": (2, 8, 8)})
    pairs = row_pairs(mod)
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    names = [layer_name(values[pair.source]) if pair.source in values else "x" for pair in pairs.values()]
    assert names == ["x", "relu"]  # one for both readers of x
    assert not any(pair.symmetric or pair.whole for pair in pairs.values())
    assert paired(mod) == []
    assert {name: status for name, status in statuses(mod).items() if name in "abc"} == dict.fromkeys(
        "abc", "dynamic"
    )
    assert reasons(mod)["scores"].startswith("a product of two activations stays float")


def test_symmetric_rows():
    mod = dynamic(lambda b, x: dense(b, x, "a"), {"x": (2, 8)}, activations="symmetric")
    assert [pair.symmetric for pair in row_pairs(mod).values()] == [True]


def test_without_samples_a_convolution_stays_float():
    def body(b, x):
        return dense(b, relu(b, conv(b, x, "c1")), "a")

    mod = dynamic(body, {"x": SHAPE})
    assert reasons(mod)["c1"] == "a convolution needs calibration samples, and there are none"
    assert reasons(mod)["relu"] == "only matrix products with weights are quantized without samples"
    mod = dynamic(body, {"x": SHAPE}, has_samples=True)
    assert paired(mod) == ["x"] and len(row_pairs(mod)) == 1
    assert statuses(mod) == {"c1": "dynamic", "relu": "dynamic", "a": "dynamic"}


def test_a_dynamic_layer_that_stays_float_says_why():
    def body(b, x):
        return dense(b, dense(b, x, "a"), "b")

    mod = dynamic(body, {"x": (2, 8)}, skip_layers=("a",), min_weight_size=100)
    assert reasons(mod) == {
        "a": "skipped by layer 'a'",
        "b": "its 64 weights are fewer than the smallest size, 100",
    }
    assert not row_pairs(mod)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_bits": 4}, "activation_bits has no effect with the scheme 'dynamic': rows have 8 bits"),
        ({"power_of_two": True}, "power_of_two has no effect with the scheme 'dynamic'"),
        ({"activation_scales": "auto"}, "activation_scales has no effect with the scheme 'dynamic'"),
        ({"rounding": "reconstruct"}, "rounding 'reconstruct' does not know the scheme 'dynamic'"),
        (
            {"bits": {"a": (8, 4)}},
            "bits of layer 'a': the scheme 'dynamic' takes those of the weights alone, 2 to 8",
        ),
        (
            {"bits": {"a": 1}},
            "bits of layer 'a': the scheme 'dynamic' takes those of the weights alone, 2 to 8",
        ),
        ({"group_size": 4}, "group_size has no effect with the scheme 'dynamic', only with 'weight-only'"),
    ],
    ids=str,
)
def test_options_that_a_dynamic_scheme_has_no_use_for(options, message):
    with pytest.raises(TvmqError, match=message):
        dynamic(lambda b, x: dense(b, x, "a"), {"x": (2, 8)}, **options)
